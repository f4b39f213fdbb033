# bash completion for helioctl(8): the program itself knows what may stand next.

_helioctl()
{
    local IFS=$'\n'
    COMPREPLY=($("${COMP_WORDS[0]/#\~/$HOME}" --complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}

# Where helioctl offers nothing (values, files), names of files are.
complete -o default -F _helioctl helioctl

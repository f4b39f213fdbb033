# cmake -DOUT=file.c -DDIR=folder -P embed.cmake: docs.html, docs.css and docs.js as the constants of worker/http/docs_files.h.
set(text "#include \"worker/http/docs_files.h\"\n")
foreach(kind html css js)
  file(READ ${DIR}/docs.${kind} bytes HEX)
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${bytes}")
  string(APPEND text "static const char ${kind}[] = {${bytes}};\n"
    "const struct str docs_${kind} = {${kind}, sizeof(${kind})};\n")
endforeach()
file(WRITE ${OUT} "${text}")

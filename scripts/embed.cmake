# cmake -DIN=file -DOUT=file.c -DSYMBOL=name -P embed.cmake: the bytes of a file as `const struct str name` (see embed() in CMakeLists.txt).
file(READ ${IN} bytes HEX)
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${bytes}")
file(WRITE ${OUT} "#include \"common/str.h\"\n\nextern const struct str ${SYMBOL};\n"
  "static const char bytes[] = {${bytes}};\nconst struct str ${SYMBOL} = {bytes, sizeof(bytes)};\n")

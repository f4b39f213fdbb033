/* docs_files: the sources of the page /docs (worker/http/docs/), made part of the program
 * by embed.cmake. Never change while it runs. */
#ifndef WORKER_HTTP_DOCS_FILES_H
#define WORKER_HTTP_DOCS_FILES_H

#include "common/str.h"

extern const struct str docs_html, docs_css, docs_js;

#endif

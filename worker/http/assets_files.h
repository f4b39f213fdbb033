/* assets_files: the sources of the pages and of heliod.js (worker/http/assets/), made
 * part of the program by embed.cmake. Never change while it runs. */
#ifndef WORKER_HTTP_ASSETS_FILES_H
#define WORKER_HTTP_ASSETS_FILES_H

#include "common/str.h"

extern const struct str asset_heliod_js;
extern const struct str asset_docs_html, asset_docs_css, asset_docs_js;
extern const struct str asset_demos_html, asset_demos_css, asset_demos_js;
extern const struct str asset_call_html, asset_call_js;
extern const struct str asset_bell_html, asset_bell_js;

#endif

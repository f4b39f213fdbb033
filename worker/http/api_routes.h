/* api_routes: what the HTTP API has: paths, methods, parameters, and who serves them.
 * Owns nothing. Never judges a key or a body. */
#ifndef WORKER_HTTP_API_ROUTES_H
#define WORKER_HTTP_API_ROUTES_H

#include "worker/http/api_call.h"

struct api_route {
    const char *path;       /* a segment {…} stands for one of any text: call->name */
    const char *methods;    /* as Allow says them */
    const char *parameters; /* of the query: "limit, after", ""; NULL: not looked at */
    bool takes_json;
    /* Answers, or waits (api_wait). The body dies when the call returns. */
    void (*serve)(struct api_call *call, struct str body);
};
/* NULL: there is nothing. */
const struct api_route *api_routes_find(struct str path);
bool api_routes_allow(const struct api_route *route, struct str method);

#define API_LIMIT 100 /* elements of a list, if the query does not say how many … */
#define API_LIMIT_MAX 1000
/* Takes the text out of the path and the parameters out of the query into the call. -1: e
 * says what is wrong with them. */
int api_routes_read(struct api_call *call, const struct request *r,
                    struct err *e) NODISCARD;

/* What all workers of all brokers know together. */
void api_serve_rooms(struct api_call *call, struct str body);
void api_serve_room(struct api_call *call, struct str body);
void api_serve_user(struct api_call *call, struct str body);
void api_serve_stats(struct api_call *call, struct str body);
void api_serve_kick_client(struct api_call *call, struct str body);
void api_serve_kick_user(struct api_call *call, struct str body);
void api_serve_events(struct api_call *call, struct str body);
void api_serve_notifications(struct api_call *call, struct str body);
void api_serve_tickets(struct api_call *call, struct str body);
void api_serve_metrics(struct api_call *call, struct str body);

#endif

#include "load_watch.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct watch watched[WATCH_MAX];
static int watched_n;
static struct watch_core core = {.number = -1};

int watch_add(const char *label_and_pid)
{
    const char *colon = strchr(label_and_pid, ':');
    if (!colon || atoi(colon + 1) <= 0 || watched_n == WATCH_MAX)
        return -1;
    char *label = strndup(label_and_pid, (size_t)(colon - label_and_pid));
    watched[watched_n++] = (struct watch){.label = label, .pid = atoi(colon + 1)};
    return 0;
}

void watch_set_core(int number)
{
    core.number = number;
}

/* Nanoseconds on a processor, summed over the threads; -1 where the kernel keeps none. */
static double run_time_of(int pid)
{
    char path[96];
    double sum = -1;
    snprintf(path, sizeof path, "/proc/%d/task", pid);
    DIR *dir = opendir(path);
    for (struct dirent *e; dir && (e = readdir(dir));) {
        unsigned long long ns;
        snprintf(path, sizeof path, "/proc/%d/task/%.20s/schedstat", pid, e->d_name);
        FILE *f = e->d_name[0] == '.' ? NULL : fopen(path, "re");
        if (f && fscanf(f, "%llu", &ns) == 1)
            sum = (sum < 0 ? 0 : sum) + (double)ns;
        if (f)
            fclose(f);
    }
    if (dir)
        closedir(dir);
    return sum;
}

static uint64_t private_of(int pid)
{
    char path[64], line[256];
    unsigned long long kb, sum = 0;
    snprintf(path, sizeof path, "/proc/%d/smaps_rollup", pid);
    FILE *f = fopen(path, "re");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "Private_Clean: %llu", &kb) == 1 ||
            sscanf(line, "Private_Dirty: %llu", &kb) == 1)
            sum += kb * 1024;
    if (f)
        fclose(f);
    return sum;
}

/* user and system are counted in ticks, or split by ticks; run time is exact. */
static struct watch_sample sample_cpu(int pid)
{
    char path[64], text[1024] = "";
    unsigned long user = 0, system = 0;
    double tick = 1.0 / (double)sysconf(_SC_CLK_TCK), run = run_time_of(pid);
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *f = fopen(path, "re");
    if (f && fgets(text, sizeof text, f)) {
        char *rest = strrchr(text, ')');
        if (rest)
            sscanf(rest, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user,
                   &system);
    }
    if (f)
        fclose(f);
    double counted = (double)(user + system) * tick;
    return (struct watch_sample){
        .cpu = run < 0 ? counted : run / 1e9,
        .user = (double)user * tick,
        .system = (double)system * tick,
    };
}

static void sample_core(double *busy, double *stolen)
{
    char line[512], name[16];
    double tick = 1.0 / (double)sysconf(_SC_CLK_TCK);
    FILE *f = core.number < 0 ? NULL : fopen("/proc/stat", "re");
    snprintf(name, sizeof name, "cpu%d ", core.number);
    while (f && fgets(line, sizeof line, f)) {
        unsigned long long v[8] = {0};
        if (strncmp(line, name, strlen(name)))
            continue;
        sscanf(line + strlen(name), "%llu %llu %llu %llu %llu %llu %llu %llu", &v[0],
               &v[1], &v[2], &v[3], &v[4], &v[5], &v[6], &v[7]);
        *busy = (double)(v[0] + v[1] + v[2] + v[5] + v[6]) * tick;
        *stolen = (double)v[7] * tick;
    }
    if (f)
        fclose(f);
}

void watch_remember_memory(void)
{
    for (int i = 0; i < watched_n; i++)
        watched[i].before.private_bytes = private_of(watched[i].pid);
}

void watch_begin(void)
{
    sample_core(&core.before, &core.stolen_before);
    for (int i = 0; i < watched_n; i++) {
        uint64_t remembered = watched[i].before.private_bytes;
        watched[i].before = sample_cpu(watched[i].pid);
        watched[i].before.private_bytes = remembered;
    }
}

void watch_end(void)
{
    for (int i = 0; i < watched_n; i++)
        watched[i].after = sample_cpu(watched[i].pid);
    sample_core(&core.after, &core.stolen_after);
    for (int i = 0; i < watched_n; i++)
        watched[i].after.private_bytes = private_of(watched[i].pid);
}

void watch_report(FILE *out)
{
    fprintf(out, "\"processes\":[");
    for (int i = 0; i < watched_n; i++) {
        const struct watch *w = &watched[i];
        fprintf(out,
                "%s{\"label\":\"%s\",\"cpu\":%.6f,\"user\":%.2f,\"system\":%.2f,"
                "\"private_before\":%llu,\"private_after\":%llu}",
                i ? "," : "", w->label, w->after.cpu - w->before.cpu,
                w->after.user - w->before.user, w->after.system - w->before.system,
                (unsigned long long)w->before.private_bytes,
                (unsigned long long)w->after.private_bytes);
    }
    fprintf(out, "],\"core\":{\"busy\":%.2f,\"stolen\":%.2f}", core.after - core.before,
            core.stolen_after - core.stolen_before);
}

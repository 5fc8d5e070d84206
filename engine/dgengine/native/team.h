/* Threads that work on one call at the same time: those of the OpenMP that torch has loaded.

   Threads of our own would fight with them: OpenMP's look for work for a while before they sleep, each on a core. So no
   OpenMP is compiled in here; whoever calls gives the entries of the one that is there. */

#include <sched.h>

typedef struct {
    void (*parallel)(void (*part)(void *), void *shared, unsigned threads, unsigned flags); /* GOMP_parallel */
    int (*size)(void);                                                                      /* omp_get_num_threads */
    long threads;                                                                           /* asked for */
    long come, waiting, round;                                                              /* zero */
    int is_short;                                                                           /* zero */
    void (*part)(void *, long);
    void *shared;
} Team;

/* Waits until every thread is here. They come at about the same time, so it looks again before it lets others run. */
static void wait_for_all(Team *team) {
    if (team->threads == 1) return;
    long round = __atomic_load_n(&team->round, __ATOMIC_ACQUIRE);
    if (__atomic_add_fetch(&team->waiting, 1, __ATOMIC_ACQ_REL) == team->threads) {
        __atomic_store_n(&team->waiting, 0, __ATOMIC_RELAXED);
        __atomic_store_n(&team->round, round + 1, __ATOMIC_RELEASE);
        return;
    }
    for (long tries = 0; __atomic_load_n(&team->round, __ATOMIC_ACQUIRE) == round; tries++) {
        if (tries < 2000) __builtin_ia32_pause();
        else sched_yield();
    }
}

static void join(void *given) {
    Team *team = given;
    long thread = __atomic_fetch_add(&team->come, 1, __ATOMIC_ACQ_REL);
    if (team->size() == team->threads) team->part(team->shared, thread);
    else team->is_short = 1; /* a part would wait for one that never comes */
}

/* Calls `part` once in each thread, with its number. 0, or -1 where fewer came than were asked for: none has begun. */
static int together(Team *team, void (*part)(void *, long), void *shared) {
    if (team->threads == 1) {
        part(shared, 0);
        return 0;
    }
    team->part = part, team->shared = shared;
    team->parallel(join, team, team->threads, 0);
    return team->is_short ? -1 : 0;
}

/* fake_program.h - builds the trainers of tests/fake_network.c that the trainer's suites run, once a build. */
#ifndef FAKE_PROGRAM_H
#define FAKE_PROGRAM_H

#include "support.h"

#include <criterion/criterion.h>

#define FAKE        BUILD "/tests/fake"
#define FAKE_DOUBLE BUILD "/tests/fake-double"

/* Tests run side by side: one of them builds, the others wait. $SAN is what make was given. */
static inline void build_fake(void)
{
    Outcome o = run_command(
        "mkdir -p %1$s/tests && flock %1$s/tests/fake.lock sh -c '"
        "for kind in \"\" -double; do"
        "  test %1$s/tests/fake$kind -nt %1$s/libcnn$kind.a && test %1$s/tests/fake$kind -nt tests/fake_network.c ||"
        "  { clang-19 -std=gnu11 -Wall -Wextra -Werror -O1 -g $SAN -fopenmp ${kind:+-DREAL=double}"
        "    -DCNN_MAIN -DCNN_WITH_JPEG -DCNN_WITH_PNG -DFAKE_DISK"
        "    -Wl,--wrap=open,--wrap=write,--wrap=fsync,--wrap=rename,--wrap=link,--wrap=unlink"
        "    -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc"
        "    -o %1$s/tests/fake$kind.tmp tests/fake_network.c %1$s/libcnn$kind.a -lz -ljansson -ljpeg -lpng -lm &&"
        "    mv %1$s/tests/fake$kind.tmp %1$s/tests/fake$kind; } || exit 1; done'",
        BUILD);
    cr_assert(o.status == 0, "the fake trainer does not build:\n%s", o.err);
    outcome_free(&o);
}

#endif

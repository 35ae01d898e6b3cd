/* test_aarch64.c - code for another processor: --target aarch64 through clang's cross compilation, run by qemu-aarch64
 * and compared with the textbook, which runs here.
 *
 * `make test` installs what this needs: the C library for arm64, ld.lld-19 and qemu-aarch64. A test that misses one is
 * skipped and says so. The programs are linked without OpenMP, of which there is no arm64 library here: one thread.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support.h"
#include "target.h"

static const char cross[] =
    "clang-19 -std=gnu11 --target=aarch64-linux-gnu -fuse-ld=lld -static -O1 -ffp-contract=on -Wall "
    "-Wextra -Werror";

/* Skips the test, with the reason, where a tool is missing. */
static void need(const char *condition, const char *what)
{
    Outcome o = run_command("%s", condition);
    int status = o.status;
    outcome_free(&o);
    if (status != 0)
        cr_skip_test("aarch64 is not tested: %s is missing", what);
}

static void need_compiler(void) { need("test -e /usr/aarch64-linux-gnu/include/math.h", "libc6-dev-arm64-cross"); }

static void need_emulator(void)
{
    need_compiler();
    need("test -e /usr/lib/gcc-cross/aarch64-linux-gnu/12/libgcc.a", "libgcc-12-dev-arm64-cross");
    need("command -v ld.lld-19", "lld-19");
    need("command -v qemu-aarch64", "qemu-user");
}

static void run_or_fail(const char *folder, const char *command)
{
    Outcome o =
        run_command("cnnc=$(realpath %s/cnnc) && include=$(realpath %s/include) && runtime=$PWD/runtime && cd %s && %s",
                    BUILD, BUILD, folder, command);
    cr_assert(o.status == 0 && *o.err == 0, "%s: status %d\n%.3000s", command, o.status, o.err);
    outcome_free(&o);
}

/* ---- objects ----------------------------------------------------------------------------------------------------- */

/* e_machine of the ELF header: 183 is EM_AARCH64. */
Test(aarch64, object_files)
{
    need_compiler();
    char *folder = scratch_folder("aarch64_object"), path[700];
    static const char text[] =
        "network tiny { input(3, 6, 6); conv(5, 3, pad = 1); relu; maxpool(2); flatten; linear(4); }";
    snprintf(path, sizeof path, "%s/tiny.net", folder);
    write_whole(path, text, sizeof text - 1);
    run_or_fail(folder, "$cnnc --target aarch64 -c tiny.net");
    snprintf(path, sizeof path, "%s/tiny.o", folder);
    size_t length;
    char *object = read_whole(path, &length);
    cr_assert(object && length > 20 && memcmp(object, "\177ELF", 4) == 0, "no object was written");
    cr_expect((unsigned char)object[18] == 183 && object[19] == 0, "e_machine is %d", object[18]);
    free(object);
    free(folder);
}

/* ---- kernels ----------------------------------------------------------------------------------------------------- */

static void run_kernel(const char *name, const char *statement, const char *input)
{
    need_emulator();
    char *folder = scratch_folder(name), command[1000];
    snprintf(command, sizeof command,
             "$cnnc kernel '%s' --input %s --batch 3 --target aarch64 -o k.c && %s k.c -lm -o k", statement, input,
             cross);
    run_or_fail(folder, command);
    Outcome o = run_command("qemu-aarch64 %s/k 0", folder);
    cr_expect(o.status == 0 && *o.err == 0 && strstr(o.out, " error ") && !strstr(o.out, "WRONG"),
              "%s: status %d\n%s%s", statement, o.status, o.out, o.err);
    outcome_free(&o);
    free(folder);
}

Test(aarch64, conv_kernels)      { run_kernel("aarch64_conv", "conv(13, 3, pad = 1)", "8x9x7"); }
Test(aarch64, strided_kernels)   { run_kernel("aarch64_strided", "conv(9, 5, stride = 2, pad = 2)", "6x11x9"); }
Test(aarch64, depthwise_kernels) { run_kernel("aarch64_depthwise", "conv(7, 3, pad = 1, groups = 7)", "7x8x8"); }
Test(aarch64, batchnorm_kernels) { run_kernel("aarch64_batchnorm", "batchnorm", "6x5x5"); }
Test(aarch64, linear_kernels)    { run_kernel("aarch64_linear", "linear(11)", "19"); }
Test(aarch64, maxpool_kernels)   { run_kernel("aarch64_maxpool", "maxpool(3, stride = 2, pad = 1)", "6x9x8"); }

/* ---- a network --------------------------------------------------------------------------------------------------- */

static const char net_text[] =
    "network fast {\n"
    "    input(3, 10, 8);\n"
    "    conv(12, 3, pad = 1); relu;\n"
    "    residual { conv(12, 3, pad = 1, bias = no); batchnorm; relu; conv(12, 3, pad = 1, bias = no); batchnorm; }\n"
    "    relu;\n"
    "    concat { { conv(8, 3, pad = 1); relu; } { conv(5, 1); silu; } {} }\n"
    "    maxpool(2); batchnorm; tanh; conv(25, 3, groups = 25, pad = 1); avgpool(2); dropout(0.3);\n"
    "    flatten; linear(5);\n"
    "    train { batch = 3; }\n"
    "}\n";

/* Trains on pictures of a formula and prints every prediction, loss, gradient and parameter. */
static const char main_text[] =
    "#include <stdio.h>\n"
    "#include <stdlib.h>\n"
    "#include \"fast.h\"\n"
    "static cnn_real x[3 * 3 * 10 * 8], logits[15], values[1 << 14];\n"
    "static void print(const cnn_real *v, size_t count)\n"
    "{\n"
    "    for (size_t i = 0; i < count; i++)\n"
    "        printf(\"%.17g\\n\", (double)v[i]);\n"
    "}\n"
    "int main(void)\n"
    "{\n"
    "    fast *net = fast_new(3);\n"
    "    for (int step = 0; step < 3; step++) {\n"
    "        int32_t labels[3] = {step, step + 1, 0};\n"
    "        for (size_t i = 0; i < sizeof x / sizeof *x; i++)\n"
    "            x[i] = (cnn_real)((int)((i * 7919 + (size_t)step * 31) % 1024) - 512) / 256;\n"
    "        fast_predict(net, x, logits);\n"
    "        print(logits, 15);\n"
    "        cnn_real loss = fast_gradients(net, x, labels, logits);\n"
    "        print(&loss, 1);\n"
    "        for (int t = 0; t < fast_tensors(); t++) {\n"
    "            if (fast_tensor(t).trainable)\n"
    "                fast_get_grad(net, t, values), print(values, fast_tensor(t).count);\n"
    "            fast_get(net, t, values), print(values, fast_tensor(t).count);\n"
    "        }\n"
    "        fast_update(net, &(cnn_update){.lr = 0.1f, .momentum = 0.9f});\n"
    "    }\n"
    "    fast_free(net);\n"
    "    return 0;\n"
    "}\n";

/* Numbers one a line; the largest difference, where values below 1 count as 1. -1: not the same number of lines. */
static double largest_difference(const char *a, const char *b)
{
    double most = 0;
    for (;;) {
        char *after_a, *after_b;
        double x = strtod(a, &after_a), y = strtod(b, &after_b);
        if (after_a == a || after_b == b)
            return after_a == a && after_b == b ? most : -1;
        double error = fabs(x - y) / fmax(1, fabs(x));
        most = error > most || error != error ? error : most;
        a = after_a;
        b = after_b;
    }
}

Test(aarch64, a_network_in_double)
{
    need_emulator();
    char *folder = scratch_folder("aarch64_network"), path[700], command[1500];
    snprintf(path, sizeof path, "%s/fast.net", folder);
    write_whole(path, net_text, sizeof net_text - 1);
    snprintf(path, sizeof path, "%s/main.c", folder);
    write_whole(path, main_text, sizeof main_text - 1);
    run_or_fail(folder,
                "mkdir slow && $cnnc -O0 fast.net -o slow/fast.c && clang-19 -std=gnu11 -DREAL=double -O1 -fopenmp "
                "-I$include -Islow main.c slow/fast.c $include/../libcnn-double.a -lm -o slow/fast");
    snprintf(command, sizeof command,
             "$cnnc --target aarch64 fast.net && %s -D_GNU_SOURCE -DREAL=double -Wno-unknown-pragmas -I$include "
             "-I$runtime main.c fast.c $runtime/random.c $runtime/layout.c $runtime/update.c -lm -o fast", cross);
    run_or_fail(folder, command);
    Outcome here = run_command("%s/slow/fast", folder), there = run_command("qemu-aarch64 %s/fast", folder);
    cr_assert(here.status == 0 && there.status == 0, "status %d and %d\n%s", here.status, there.status, there.err);
    double most = largest_difference(here.out, there.out);
    cr_expect(strlen(here.out) > 100000 && most >= 0 && most < 1e-9, "the largest difference is %g", most);
    outcome_free(&here);
    outcome_free(&there);
    free(folder);
}

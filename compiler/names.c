/* names.c - names of layers as PyTorch's state_dict has them, and the C symbols made from them.
 *
 * Every call and every group takes a position in its scope, labelled or not, as nn.Sequential counts its modules; a
 * label replaces the number. Establishes: full names unique, of [A-Za-z0-9_.] only; symbols unique, legal C and C++,
 * and clear of every name that generated code, the C library or a kernel's function uses.
 */
#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "expand.h"

/* ---- names in the network ---------------------------------------------------------------------------------------- */

static const char *join(Arena *arena, const Scope *scope, const char *child)
{
    return *scope->name ? arena_printf(arena, "%s.%s", scope->name, child) : arena_printf(arena, "%s", child);
}

/* Names grow with nesting and multiply with repeats, so both one and all of them are bounded before they are made. */
static bool charge_name(Expander *x, const Context *c, const Stmt *s, size_t length)
{
    size_t full = strlen(c->scope->scope->name) + 1 + length;
    x->name_bytes += (int64_t)full;
    if (full <= MAX_NAME && x->name_bytes <= MAX_NAME_BYTES)
        return true;
    if (full > MAX_NAME)
        fail(x, s->span, c->origin, "the full name of this layer is longer than %d characters\nuse shorter labels, or "
             "fewer scopes inside one another", MAX_NAME);
    else
        fail(x, s->span, c->origin, "the names of all layers together are longer than %d MiB\nuse shorter labels",
             MAX_NAME_BYTES >> 20);
    x->stopped = true;
    return false;
}

/* The statement's name inside its scope: its label, with its index, or its position. */
static const char *own_name(Expander *x, const Context *c, const Stmt *s, int position)
{
    if (s->label && !charge_name(x, c, s, strlen(s->label) + (s->label_index ? 20 : 0)))
        return NULL;
    if (s->label == NULL)
        return charge_name(x, c, s, 10) ? arena_printf(x->arena, "%d", position) : NULL;
    if (s->label_index == NULL)
        return s->label;
    int64_t index;
    if (!eval_integer(x, c, s->label_index, "the index of a label", &index))
        return NULL;
    if (index < 0) {
        fail(x, s->label_index->span, c->origin, "the index of label '%s' is %" PRId64 "\nan index is part of the name "
             "and cannot be negative", s->label, index);
        return NULL;
    }
    return arena_printf(x->arena, "%s%" PRId64, s->label, index);
}

const char *automatic_name(Expander *x, const Context *c, const char *keyword, Layer *layer)
{
    const char *base = join(x->arena, c->scope->scope, keyword), *name = base;
    TableEntry *first = table_put(x->arena, &x->names, base), *free_one = first;
    while (free_one->item) {            /* add2, add3, ... */
        first->number = first->number ? first->number + 1 : 2;
        name = arena_printf(x->arena, "%s%d", base, first->number);
        free_one = table_put(x->arena, &x->names, name);
    }
    x->name_bytes += (int64_t)strlen(name);
    free_one->item = layer;
    free_one->span = (Span){0, 0};      /* no label: gives way to one */
    return name;
}

/* A label may take the name that `residual` or `concat` gave to a layer of theirs: that one takes the next. */
static void give_way(Expander *x, const Context *c, TableEntry *entry)
{
    Layer *layer = entry->item;
    layer->name = automatic_name(x, c, layer->op->keyword, layer);
}

static void duplicate(Expander *x, const Context *c, const Stmt *s, const char *own, const TableEntry *first)
{
    const char *scope = *c->scope->scope->name ? c->scope->scope->name : x->network->name;
    if (first->span.begin == s->label_span.begin) {
        fail(x, s->label_span, c->origin, "the label '%s' is used again in %s by a repeat\nnumber it with a loop "
             "variable: repeat i in 1..n { %s[i]: ... }", own, scope, s->label);
        return;
    }
    int before = x->diag->errors;
    fail(x, s->label_span, c->origin, "the label '%s' is used twice in %s", own, scope);
    if (x->diag->errors > before)
        note_at(x->diag, first->span, "first used here");
}

const char *child_name(Expander *x, const Context *c, const Stmt *s)
{
    const char *own = own_name(x, c, s, c->scope->position++);
    if (own == NULL)
        return NULL;
    const char *name = join(x->arena, c->scope->scope, own);
    TableEntry *entry = table_put(x->arena, &x->names, name);
    if (entry->item && entry->span.end == 0)
        give_way(x, c, entry);
    else if (entry->item) {
        duplicate(x, c, s, own, entry);
        return NULL;
    }
    entry->item = c->scope;
    entry->span = s->label ? s->label_span : s->span;
    return name;
}

/* ---- words that C, C++, their library or generated code use ------------------------------------------------------ */

static const char *const keywords[] = {
    "_Alignas", "_Alignof", "_Atomic", "_Bool", "_Complex", "_Generic", "_Imaginary", "_Noreturn", "_Static_assert",
    "_Thread_local", "alignas", "alignof", "and", "and_eq", "asm", "auto", "bitand", "bitor", "bool", "break", "case",
    "catch", "char", "char16_t", "char32_t", "char8_t", "class", "co_await", "co_return", "co_yield", "compl",
    "concept", "const", "const_cast", "consteval", "constexpr", "constinit", "continue", "decltype", "default",
    "delete", "do", "double", "dynamic_cast", "else", "enum", "explicit", "export", "extern", "false", "float", "for",
    "friend", "goto", "if", "inline", "int", "long", "mutable", "namespace", "new", "noexcept", "not", "not_eq",
    "nullptr", "operator", "or", "or_eq", "private", "protected", "public", "register", "reinterpret_cast", "requires",
    "restrict", "return", "short", "signed", "sizeof", "static", "static_assert", "static_cast", "struct", "switch",
    "template", "this", "thread_local", "throw", "true", "try", "typedef", "typeid", "typename", "typeof",
    "typeof_unqual", "union", "unsigned", "using", "virtual", "void", "volatile", "wchar_t", "while", "xor", "xor_eq",
};

/* Functions, types and macros of C and POSIX. Those of math.h exist with a final f and l too (see in_library). */
static const char *const library[] = {
    "BUFSIZ", "EOF", "EXIT_FAILURE", "EXIT_SUCCESS", "FILE", "HUGE_VAL", "I", "INFINITY", "M_PI", "NAN", "NDEBUG",
    "NULL", "RAND_MAX", "REAL", "SIZE_MAX", "abort", "abs", "accept", "access", "acos", "acosh", "aligned_alloc",
    "alloca", "asctime", "asin", "asinh", "assert", "atan", "atan2", "atanh", "atexit", "atof", "atoi", "atol",
    "atoll", "bcmp", "bcopy", "bind", "brk", "bsearch", "bzero", "calloc", "cbrt", "ceil", "cexp", "chdir", "chmod",
    "chown", "clearerr", "clock", "clog", "close", "complex", "conj", "connect", "copysign", "cos", "cosh", "cpow",
    "creal", "creat", "csqrt", "ctime", "daemon", "difftime", "div", "double_t", "drem", "dup", "dup2", "environ",
    "erf", "erfc", "errno", "exec", "execl", "execv", "execve", "execvp", "exit", "exp", "exp10", "exp2", "expm1",
    "fabs", "fclose", "fcntl", "fdim", "fdopen", "feof", "ferror", "fflush", "ffs", "fgetc", "fgets", "fileno",
    "finite", "float_t", "floor", "fma", "fmax", "fmin", "fmod", "fopen", "fork", "fprintf", "fputc", "fputs",
    "fread", "free", "frexp", "fscanf", "fseek", "fstat", "fsync", "ftell", "ftruncate", "fwrite", "gamma", "getc",
    "getchar", "getcwd", "getenv", "getline", "getopt", "getpid", "gets", "gettimeofday", "gmtime", "hypot", "i386",
    "ilogb", "imaginary", "index", "ioctl", "isalnum", "isalpha", "isatty", "isdigit", "isfinite", "isinf", "isnan",
    "isnormal", "isspace", "j0", "j1", "jn", "kill", "labs", "ldexp", "ldiv", "lgamma", "link", "linux", "listen",
    "llabs", "lldiv", "llrint", "llround", "localtime", "log", "log10", "log1p", "log2", "logb", "longjmp", "lrint",
    "lround", "lseek", "lstat", "main", "malloc", "memccpy", "memchr", "memcmp", "memcpy", "memmove", "mempcpy",
    "memset", "mkdir", "mktime", "mlock", "mmap", "modf", "mprotect", "munmap", "nan", "nanosleep", "nearbyint",
    "nextafter", "offsetof", "omp_get_max_threads", "open", "openat", "optarg", "optind", "pause", "pclose", "perror",
    "pipe", "poll", "popen", "posix_memalign", "pow", "pow10", "pread", "printf", "pselect", "putc", "putchar",
    "putenv", "puts", "pwrite", "qsort", "raise", "rand", "random", "read", "readdir", "readlink", "realloc", "recv",
    "remainder", "remove", "remquo", "rename", "rewind", "rindex", "rint", "rmdir", "round", "sbrk", "scalb",
    "scalbln", "scalbn", "scanf", "select", "send", "setenv", "setjmp", "sigaction", "sigmask", "signal", "signbit",
    "significand", "sin", "sincos", "sinh", "sleep", "snprintf", "socket", "sprintf", "sqrt", "srand", "srandom",
    "sscanf", "stat", "stderr", "stdin", "stdout", "strcat", "strchr", "strcmp", "strcoll", "strcpy", "strcspn",
    "strdup", "strerror", "strlen", "strncat", "strncmp", "strncpy", "strndup", "strnlen", "strpbrk", "strrchr",
    "strsep", "strsignal", "strspn", "strstr", "strtod", "strtof", "strtok", "strtol", "strtold", "strtoll",
    "strtoul", "strtoull", "swab", "symlink", "sync", "syscall", "sysconf", "system", "tan", "tanh", "tempnam",
    "tgamma", "time", "timeout", "times", "tmpfile", "tmpnam", "trunc", "truncate", "tsearch", "umask", "uname",
    "ungetc", "unix", "unlink", "unsetenv", "usleep", "vfork", "vfprintf", "vprintf", "vsnprintf", "vsprintf", "wait",
    "waitpid", "write", "y0", "y1", "yn",
};

/* What unit.c writes at file scope, and the parameters in whose reach it names the network's type. */
static const char *const file_scope[] = {
    "ARENA", "BACK", "BACKWARD", "GRADIENTS", "KERNELS", "RULE", "RUN", "SEEN", "TENSORS", "adam", "adam_update", "at",
    "early", "facts", "flow", "gradients_kernels", "inside", "layer_table", "loss", "loss_backward", "loss_forward",
    "mark_idle", "merge_ranks", "net", "predict_kernels", "real", "rmsprop", "rmsprop_update", "seed", "sgd",
    "sgd_update", "share_loss", "sum_ranks", "tell", "tensor_offset", "tensor_place", "tensor_table", "tensors",
    "wanted",
};

/* Local variables, parameters and index letters (unit.c, textbook.c, ops/): a layer's pointer would hide them. */
static const char *const locals[] = {
    "P", "S", "V", "W", "X", "Y", "arena", "b", "best", "c", "count", "dW", "dX", "dY", "db", "dbeta", "dgamma", "e",
    "exchange", "expected", "first", "frozen", "g", "grad", "h", "i", "ic", "ih", "in", "input", "iw", "j", "k",
    "kernels", "labels", "layer", "logits", "lr", "m", "max", "mean", "min", "momentum", "n", "network", "node",
    "offset", "order", "out", "output", "p", "part", "parts", "pictures", "q", "r", "row", "rule", "s", "scale",
    "second", "shape", "shift", "size", "step", "sum", "t", "target", "total", "u", "update", "v", "value", "var", "w",
    "watch", "x", "y", "z",
};

#define COUNT(array) ((int)(sizeof (array) / sizeof *(array)))

static bool listed(const char *name, const char *const *words, int count)
{
    for (int i = 0; i < count; i++)
        if (strcmp(words[i], name) == 0)
            return true;
    return false;
}

static bool in_library(const char *name)
{
    size_t length = strlen(name);
    if (listed(name, library, COUNT(library)))
        return true;
    if (length < 3 || length > 30 || !strchr("fl", name[length - 1]))
        return false;
    char base[32];              /* sinf, sinl */
    memcpy(base, name, length);
    base[length - 1] = '\0';
    return listed(base, library, COUNT(library));
}

static bool starts(const char *name, const char *prefix)
{
    return strncmp(name, prefix, strlen(prefix)) == 0;
}

static bool ends(const char *name, const char *tail)
{
    size_t n = strlen(name), t = strlen(tail);
    return n >= t && strcmp(name + n - t, tail) == 0;
}

const char *reserved_name(const char *name)
{
    if (listed(name, keywords, COUNT(keywords)))
        return "is a keyword of C or C++";
    if (in_library(name))
        return "belongs to the C library";
    if (listed(name, file_scope, COUNT(file_scope)))
        return "is used by the generated code itself";
    if (starts(name, "real_"))
        return "begins like names of the generated code itself";
    if (starts(name, "cnn_") || starts(name, "CNN_") || starts(name, "trainer_") || strcmp(name, "cnn") == 0 ||
        strcmp(name, "trainer") == 0)
        return "begins like the names of the runtime";
    if (name[0] == '_' || ends(name, "_t") || starts(name, "omp_"))
        return "has a form that C reserves for its library";
    return NULL;
}

/* ---- symbols ----------------------------------------------------------------------------------------------------- */

/* A layer's functions, gradients and saved tensors are <symbol>_<word> and d_<symbol>. So that none of them can be
 * another layer's symbol, no symbol ends in one of these words. */
static bool ends_in_suffix(const char *symbol)
{
    static const char *const words[] = {
        "forward", "backward", "update", "grad", "gradient", "input", "weight", "bias", "scale", "shift", "gamma",
        "beta", "mean", "var", "variance", "std", "inverse", "statistics", "apply", "normalise", "mask", "index",
        "indices", "argmax", "sum", "loss", "tracked", "saved", "predict", "train", "running", "momentum", "copy",
        "layer", "t",
    };
    const char *last = strrchr(symbol, '_');
    return last && listed(last + 1, words, COUNT(words));
}

/* Every reserved word in one table: 100,000 layers are looked up in it. */
static void reserve_words(Arena *arena, Table *reserved)
{
    for (int i = 0; i < COUNT(keywords); i++)
        table_put(arena, reserved, keywords[i]);
    for (int i = 0; i < COUNT(file_scope); i++)
        table_put(arena, reserved, file_scope[i]);
    for (int i = 0; i < COUNT(locals); i++)
        table_put(arena, reserved, locals[i]);
    for (int i = 0; i < COUNT(library); i++) {
        table_put(arena, reserved, library[i]);
        table_put(arena, reserved, arena_printf(arena, "%sf", library[i]));
        table_put(arena, reserved, arena_printf(arena, "%sl", library[i]));
    }
}

/* Beginnings that generated code (d_ gradients, kept_ saved tensors), the runtime and OpenMP have for themselves. */
static bool has_prefix(const char *symbol)
{
    static const char *const prefixes[] = {"d_", "kept_", "real_", "cnn_", "CNN_", "trainer_", "omp_"};
    for (int i = 0; i < COUNT(prefixes); i++)
        if (starts(symbol, prefixes[i]))
            return true;
    return false;
}

/* The network has a name that a function of this symbol's layer would have: network relu_2_forward, symbol relu_2. */
static bool names_network(const char *symbol, const char *network)
{
    size_t length = strlen(symbol);
    return strncmp(network, symbol, length) == 0 && network[length] == '_' && ends_in_suffix(network);
}

/* One symbol that C accepts, before it is made unique. */
static char *legal_symbol(const Graph *g, const Table *reserved, const Layer *l)
{
    char *symbol = arena_copy(g->arena, l->name, strlen(l->name));
    bool nested = false;
    for (char *p = symbol; *p; p++)
        if (*p == '.')
            *p = '_', nested = true;
    if (isdigit((unsigned char)symbol[0]))
        symbol = arena_printf(g->arena, "%s_%s", nested ? "layer" : l->op->keyword, symbol);
    size_t network = strlen(g->name);
    bool like_network = strncmp(symbol, g->name, network) == 0 && (symbol[network] == '_' || symbol[network] == '\0');
    if (like_network || names_network(symbol, g->name) || symbol[0] == '_' || has_prefix(symbol))
        symbol = arena_printf(g->arena, "layer_%s", symbol);
    if (table_find(reserved, symbol) || ends_in_suffix(symbol))
        symbol = arena_printf(g->arena, "%s_", symbol);
    return symbol;
}

/* `wanted`, or wanted_2, wanted_3, ... The entry remembers the next number, so that 100,000 clashes stay cheap. */
static const char *unique(Arena *arena, Table *used, const char *wanted)
{
    TableEntry *entry = table_put(arena, used, wanted);
    if (entry->number == 0) {
        entry->number = 1;
        return wanted;
    }
    for (;;) {
        const char *symbol = arena_printf(arena, "%s_%d", wanted, ++entry->number);
        TableEntry *other = table_put(arena, used, symbol);
        if (other->number == 0) {
            other->number = 1;
            return symbol;
        }
    }
}

void assign_symbols(Graph *g)
{
    Table used = {0}, reserved = {0};
    reserve_words(g->arena, &reserved);
    if (g->layers.count > 0) {          /* the input has no function and no memory of its own */
        g->input->symbol = "input";
        table_put(g->arena, &used, "input")->number = 1;
    }
    for (int i = 0; i < g->layers.count; i++)
        if (g->layers.items[i] != g->input)
            g->layers.items[i]->symbol = unique(g->arena, &used, legal_symbol(g, &reserved, g->layers.items[i]));
    for (int i = 0, index = 0; i < g->layers.count; i++) {
        Layer *l = g->layers.items[i];
        for (int p = 0; p < l->param_count; p++) {
            l->param[p].index = index++;
            l->param[p].symbol = unique(g->arena, &used, arena_printf(g->arena, "%s_%s", l->symbol, l->param[p].name));
        }
    }
}

/* dataset.c - a split as one network is shown it: what a source (source.c) reads, in the network's size and as numbers.
 *
 * A picture goes: read; the part that is shown, resized (resize.c), a byte b becoming b / 255 as in torchvision's
 * ToTensor; shifted and mirrored; its colours changed; its cut taken out (augment.c). Real numbers are taken as they
 * are. Pictures are resized anew each time, which costs little beside a training step (28x28 to 96x96: 45 us a picture)
 * and keeps memory at the data's size.
 */
#include "data.h"
#include "error.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct cnn_dataset {
    cnn_source *source;
    int         channels, height, width, classes;       /* of the network */
    int         shorter;        /* side of pictures before their middle is cut out */
    int         augments;
    cnn_augment augment;
    cnn_normal  normal;
    uint64_t    seed;
    size_t      size;
    char      (*numbers)[12];   /* "0", "1", ... for all classes */
    _Atomic uint8_t *bad;       /* 1: picture i cannot be read and is left out; NULL: such a picture is an error */
    int         names_bad;      /* each of them is named when it is met */
};

/* ---- opening ----------------------------------------------------------------------------------------------------- */

static int make_rooms(cnn_dataset *d, const cnn_wish *wish)
{
    d->numbers = calloc((size_t)d->classes, sizeof *d->numbers);
    d->names_bad = wish->skip_bad == CNN_SKIP_NAMED;
    d->bad = wish->skip_bad ? calloc(d->size, 1) : NULL;
    if (!d->numbers || (wish->skip_bad && !d->bad)) {
        cnn_error("no memory for a data set of %zu pictures and %d classes\nclose other programs", d->size, d->classes);
        return 0;
    }
    for (int i = 0; i < d->classes; i++)
        snprintf(d->numbers[i], sizeof d->numbers[i], "%d", i);
    return 1;
}

cnn_dataset *cnn_dataset_open(const char *name, cnn_split split, const cnn_wish *wish)
{
    cnn_dataset *d = calloc(1, sizeof *d);

    if (!d) {
        cnn_error("%s: no memory to open it\nclose other programs", name);
        return NULL;
    }
    d->channels = wish->input[1];
    d->height = wish->input[2];
    d->width = wish->input[3];
    d->classes = wish->classes;
    d->shorter = d->height < d->width ? d->height : d->width;
    if (wish->shorter > 0 && wish->shorter < d->shorter) {
        cnn_error("--resize-short %d: the network looks at %d x %d pixels\ngive at least %d, or leave it out",
                  wish->shorter, d->height, d->width, d->shorter);
        cnn_dataset_close(d);
        return NULL;
    }
    d->shorter = wish->shorter > 0 ? wish->shorter : d->shorter;
    d->augments = wish->augment != NULL;
    if (wish->augment)
        d->augment = *wish->augment;
    if (wish->normal)
        d->normal = *wish->normal;
    d->seed = wish->seed;
    d->source = cnn_source_open(name, split, wish);
    d->size = d->source ? cnn_source_size(d->source) : 0;
    if (!d->source || !make_rooms(d, wish)) {
        cnn_dataset_close(d);
        return NULL;
    }
    return d;
}

size_t cnn_dataset_size(const cnn_dataset *d)
{
    return d->size;
}

const char *cnn_dataset_class(const cnn_dataset *d, int label)
{
    const char *name = cnn_source_class(d->source, label);

    return label < 0 || label >= d->classes ? "?" : name ? name : d->numbers[label];
}

const char *cnn_dataset_name(const cnn_dataset *d, int label)
{
    return cnn_source_class(d->source, label);
}

const char *cnn_dataset_text(const cnn_dataset *d)
{
    return cnn_source_text(d->source);
}

int cnn_dataset_whole(const cnn_dataset *d)
{
    return cnn_source_whole(d->source);
}

int cnn_dataset_has_validation(const cnn_dataset *d)
{
    return cnn_source_has_validation(d->source);
}

int cnn_dataset_labelled(const cnn_dataset *d)
{
    return cnn_source_labelled(d->source);
}

const char *cnn_dataset_path(const cnn_dataset *d, size_t i, char path[PATH_MAX])
{
    return cnn_source_path(d->source, i, path);
}

int cnn_dataset_left_out(const cnn_dataset *d, size_t i)
{
    return d->bad && d->bad[i];
}

/* ---- a picture --------------------------------------------------------------------------------------------------- */

void cnn_reader_free(cnn_reader *r)
{
    cnn_picture_free(&r->picture);
    cnn_resize_free(r->resize);
    free(r->scratch);
    free(r->plane);
    *r = (cnn_reader){0};
}

static int no_memory(cnn_picture *p)
{
    cnn_picture_fail(p, "close other programs", "no memory to resize pictures of %d x %d", p->height, p->width);
    return -1;
}

/* The weights and the scratch room to show this view of the reader's picture. 1, or -1 with a cause. */
static int prepare_resize(cnn_reader *r, const cnn_view *view)
{
    if (r->resize && memcmp(&r->view, view, sizeof *view) == 0)
        return 1;
    cnn_resize_free(r->resize);
    r->view = *view;
    r->resize = cnn_resize_new(view);
    if (!r->resize)
        return no_memory(&r->picture);
    size_t needed = cnn_resize_scratch(r->resize);
    if (r->scratch && needed <= r->room)
        return 1;
    free(r->scratch);
    r->scratch = malloc(needed);
    r->room = needed;
    if (r->scratch)
        return 1;
    cnn_resize_free(r->resize);
    r->resize = NULL;
    return no_memory(&r->picture);
}

/* The box of a resized crop fills the input; without one a picture covers it. */
static cnn_view choose_view(const cnn_dataset *d, const cnn_reader *r)
{
    const cnn_picture *p = &r->picture;

    if (d->augments && d->augment.most > 0)
        return (cnn_view){r->changes.box, d->height, d->width, 0, 0, d->height, d->width};
    return cnn_view_cover(p->height, p->width, d->height, d->width, d->shorter);
}

/* Changes of colour are for values from 0 to 1, which bytes are and real numbers may not be. 0 with a cause. */
static int allows_colours(const cnn_dataset *d, cnn_picture *p)
{
    const size_t count = (size_t)p->channels * (size_t)p->height * (size_t)p->width;

    if (p->bytes || !d->augments || (d->augment.brightness <= 0 && d->augment.contrast <= 0))
        return 1;
    for (size_t i = 0; i < count; i++)
        if (!(p->values[i] >= 0 && p->values[i] <= 1))
            return cnn_picture_fail(p, "leave them out, or scale the data", "--brightness and --contrast need values "
                                    "from 0 to 1, and a picture has %g", (double)p->values[i]);
    return 1;
}

/* Channel c of the reader's picture, of those that it has. */
static void convert_channel(const cnn_dataset *d, cnn_reader *r, int c, cnn_real *out)
{
    const cnn_picture *p = &r->picture;
    const size_t       width = (size_t)p->width, first = (size_t)c * (size_t)p->height * width;
    const int          stays = cnn_stays(&r->changes);
    cnn_real          *plane = stays ? out : r->plane;

    if (p->bytes)
        cnn_resize_bytes(r->resize, p->bytes + first, width, r->scratch, plane);
    else
        cnn_resize_values(r->resize, p->values + first, width, r->scratch, plane);
    if (!stays)
        cnn_shift(&r->changes, d->height, d->width, plane, out);
}

/* The reader's picture as numbers in the network's size. 1, 0 or -1 with a cause. */
static int convert(const cnn_dataset *d, cnn_reader *r, cnn_real *out)
{
    const size_t   pixels = (size_t)d->height * (size_t)d->width;
    const cnn_view view = choose_view(d, r);

    if (!allows_colours(d, &r->picture))
        return 0;
    if (prepare_resize(r, &view) < 0)
        return -1;
    if (!cnn_stays(&r->changes) && !r->plane && !(r->plane = malloc(pixels * sizeof *r->plane)))
        return no_memory(&r->picture);
    for (int c = 0; c < d->channels; c++)
        if (c < r->picture.channels)
            convert_channel(d, r, c, out + (size_t)c * pixels);
        else                            /* grey: the same in every channel */
            memcpy(out + (size_t)c * pixels, out + (size_t)(c - 1) * pixels, pixels * sizeof *out);
    cnn_colour(&r->changes, d->channels, pixels, out);
    for (int c = 0; c < d->channels; c++)
        cnn_normal_apply(&d->normal, c, pixels, out + (size_t)c * pixels);
    cnn_cut(&r->changes, d->channels, d->height, d->width, out);
    return 1;
}

int cnn_dataset_picture(cnn_dataset *d, size_t i, uint32_t epoch, cnn_reader *reader, cnn_real *out, int32_t *label)
{
    int status = d->bad && d->bad[i] ? 0 : cnn_source_read(d->source, i, &reader->picture);

    const cnn_picture *p = &reader->picture;
    *label = cnn_source_label(d->source, i);
    if (status == 1) {
        cnn_augment_draw(d->augments ? &d->augment : NULL, d->seed, epoch, i, (int[]){p->height, p->width}, d->height,
                         d->width, &reader->changes);
        return convert(d, reader, out);
    }
    if (status < 0 || !d->bad)
        return status;
    if (!atomic_exchange(&d->bad[i], 1) && d->names_bad)
        cnn_warn("%s; it is left out", p->cause);
    *label = -1;
    memset(out, 0, (size_t)d->channels * (size_t)d->height * (size_t)d->width * sizeof *out);
    return 1;
}

void cnn_dataset_close(cnn_dataset *d)
{
    if (!d)
        return;
    free(d->numbers);
    free(d->bad);
    cnn_source_close(d->source);
    free(d);
}

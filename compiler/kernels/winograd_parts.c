/* winograd_parts.c - the phases of Winograd's algorithm, one function each for all kernels of a file.
 *
 * Requires: sizes that do not decide how a loop is unrolled as arguments, strides in reals. Establishes: functions that
 * read and write V, D, U, Z and sums as winograd.h defines them; element f of 36 lies f * plane behind element 0.
 */
#include "winograd.h"

const char *cut_part(Emitter *e)
{
    Emitter *b = part_body(e);
    line(b, "vec d[6][6];");
    unrolled(b, "s", 6);
        line(b, "vec column[6];");
        unrolled(b, "r", 6);
            line(b, "column[r] = load(p + r * row + s * L);");
        end(b, 1);
        line(b, "winograd_input(column);");
        unrolled(b, "r", 6);
            line(b, "d[r][s] = column[r];");
    end(b, 2);
    unrolled(b, "r", 6);
        line(b, "winograd_input(d[r]);");
        unrolled(b, "s", 6);
            line(b, "store(V + (r * 6 + s) * plane, d[r][s]);");
    end(b, 2);
    return shared_part(e, "winograd_cut",
                       "V = B' d B of a tile: 6x6 pixels from p on, rows `row` apart; point f goes to V + f * plane.",
                       "const real *p, int row, real *V, int plane", b);
}

/* The name of a part or helper for tiles or filters of some size: those of F(4x4, 3x3) have none in their names. */
static void let_sizes(Emitter *b, int side, int taps)
{
    let_int(b, "side", side);
    let_int(b, "taps", taps);
    let_int(b, "area", taps * taps);
    let(b, "of_side", "%s", side == 4 ? "" : "_2");
    let(b, "of_taps", "%s", taps == 3 ? "" : "_5");
}

const char *spread_part(Emitter *e, int side)
{
    Emitter *b = part_body(e);
    let_sizes(b, side, 7 - side);
    line(b, "vec d[6][$side];");
    unrolled(b, "s", side);
        line(b, "vec column[$side], points[6];");
        unrolled(b, "r", side);
            line(b, "column[r] = load(p + r * row + s * L);");
        end(b, 1);
        line(b, "winograd_spread$of_side(column, points);");
        unrolled(b, "r", 6);
            line(b, "d[r][s] = points[r];");
    end(b, 2);
    unrolled(b, "r", 6);
        line(b, "vec points[6];");
        line(b, "winograd_spread$of_side(d[r], points);");
        unrolled(b, "s", 6);
            line(b, "store(D + (r * 6 + s) * plane, points[s]);");
    end(b, 2);
    return shared_part(e, substitute(b, "winograd_spread_tile$of_side"),
                       substitute(b, "D = A dY A' of a tile: ${side}x$side pixels from p on, rows `row` apart; point f "
                                     "goes to D + f * plane."),
                       "const real *p, int row, real *D, int plane", b);
}

const char *join_part(Emitter *e, int side)
{
    Emitter *b = part_body(e);
    let_sizes(b, side, 7 - side);
    line(b, "vec m[$side][6];");
    unrolled(b, "s", 6);
        line(b, "vec column[6], sums[$side];");
        unrolled(b, "r", 6);
            line(b, "column[r] = load(Z + (r * 6 + s) * plane);");
        end(b, 1);
        line(b, "winograd_output$of_side(column, sums);");
        unrolled(b, "r", side);
            line(b, "m[r][s] = sums[r];");
    end(b, 2);
    unrolled(b, "r", side);
        line(b, "winograd_output$of_side(m[r], y[r]);");
    end(b, 1);
    return shared_part(e, substitute(b, "winograd_join$of_side"),
                       substitute(b, "y = A' Z A: the ${side}x$side pixels of a tile; point f is at Z + f * plane."),
                       substitute(b, "const real *Z, int plane, vec y[$side][$side]"), b);
}

static const char filters_parameters[] = "const real *W, real *U, int plane, int row";

static const char *plain_filters_part(Emitter *e, int taps)
{
    Emitter *b = part_body(e);
    let_sizes(b, 7 - taps, taps);
    loop_between(b, "c", "0", "L");
        line(b, "vec u[6][$taps];");
        unrolled(b, "s", taps);
            line(b, "vec column[$taps], points[6];");
            unrolled(b, "r", taps);
                line(b, "column[r] = load(W + ((r * $taps + s) * L + c) * L);");
            end(b, 1);
            line(b, "winograd_filter$of_taps(column, points);");
            unrolled(b, "r", 6);
                line(b, "u[r][s] = points[r];");
        end(b, 2);
        unrolled(b, "r", 6);
            line(b, "vec points[6];");
            line(b, "winograd_filter$of_taps(u[r], points);");
            unrolled(b, "s", 6);
                line(b, "store(U + (r * 6 + s) * plane + c * row, points[s]);");
    end(b, 3);
    return shared_part(e, substitute(b, "winograd_filters$of_taps"),
                       "U = G g G' of L x L filters: point f of input channel c goes to U + f * plane + c * row.",
                       filters_parameters, b);
}

const char *filters_part(Emitter *e, int taps, bool turned)
{
    const char *plain = plain_filters_part(e, taps);
    if (!turned)
        return plain;
    Emitter *b = part_body(e);
    let_sizes(b, 7 - taps, taps);
    let(b, "filters", "%s", plain);
    let_int(b, "last", taps * taps - 1);
    line(b, "_Alignas(vec) real turned[$area * L * L];");
    loop(b, "tap", taps * taps);
        line(b, "vec rows[L];");
        loop_between(b, "c", "0", "L");
            line(b, "rows[c] = load(W + (tap * L + c) * L);");
        end(b, 1);
        line(b, "transpose(rows);");
        loop_between(b, "c", "0", "L");
            line(b, "store(turned + (($last - tap) * L + c) * L, rows[c]);");
    end(b, 2);
    line(b, "$filters(turned, U, plane, row);");
    return shared_part(e, substitute(b, "winograd_turned_filters$of_taps"),
                       "The same of filters rotated by 180 degrees, the lanes of input and output channels exchanged.",
                       filters_parameters, b);
}

const char *gather_part(Emitter *e, const Kernel *k, int taps)
{
    const bool learns = k->fuses & FUSE_SGD;
    Emitter *b = part_body(e);
    let_sizes(b, 7 - taps, taps);
    loop_between(b, "c", "0", "L");
        line(b, "vec u[$taps][6];");
        unrolled(b, "s", 6);
            line(b, "vec column[6], taps[$taps];");
            unrolled(b, "r", 6);
                line(b, "column[r] = load(S + (r * 6 + s) * plane + c * row);");
            end(b, 1);
            line(b, "winograd_gather$of_taps(column, taps);");
            unrolled(b, "r", taps);
                line(b, "u[r][s] = taps[r];");
        end(b, 2);
        unrolled(b, "r", taps);
            line(b, "vec taps[$taps];");
            line(b, "winograd_gather$of_taps(u[r], taps);");
            unrolled(b, "s", taps);
                store_gradient(b, k, "$T + ((r * $taps + s) * L + c) * L", "taps[s]");
    end(b, 3);
    const char *parameters = learns ? "const real *S, int plane, int row, real *dW, real *W, real *velocity, "
                                      "const cnn_rule *rule"
                                    : "const real *S, int plane, int row, real *dW";
    return shared_part(e, substitute(b, "winograd_gather_filters$of_taps"),
                       "dW = G' S G of L x L filters: point f of input channel c is at S + f * plane + c * row.",
                       parameters, b);
}

const char *products_part(Emitter *e, int width, int group)
{
    Emitter *b = part_body(e);
    let_int(b, "width", width);
    let_int(b, "group", group);
    loop(b, "f", 36);
        comment(b, "register tile: $width tiles x $group vectors of output channels");
        step_between(b, "t", "0", "tiles", width);
            line(b, "vec y[$width][$group];");
            unrolled(b, "p", width);
                unrolled(b, "v", group);
                    line(b, "y[p][v] = more ? load(Z + f * z_plane + (v * tiles + t + p) * L) : zero;");
            end(b, 2);
            loop_between(b, "cb", "0", "in");
                loop_between(b, "c", "0", "L");
                    line(b, "const real *x = V + f * v_plane + (cb * tiles + t) * L + c;");
                    line(b, "vec w[$group];");
                    unrolled(b, "v", group);
                        line(b, "w[v] = load(U + f * u_plane + ((cb * L + c) * $group + v) * L);");
                    end(b, 1);
                    unrolled(b, "p", width);
                        unrolled(b, "v", group);
                            line(b, "y[p][v] += x[p * L] * w[v];");
            end(b, 4);
            unrolled(b, "p", width);
                unrolled(b, "v", group);
                    line(b, "store(Z + f * z_plane + (v * tiles + t + p) * L, y[p][v]);");
    end(b, 4);
    return shared_part(e, substitute(b, "winograd_products_${width}x$group"),
                       "Z = U V, point by point, of `tiles` tiles and `in` blocks of input channels; a plane is the "
                       "distance of two\n * points; `more`: added to what Z holds.",
                       "const real *U, int u_plane, const real *V, int v_plane, real *Z, int z_plane, int tiles, "
                       "int in, int more", b);
}

const char *sums_part(Emitter *e, int channels, int lanes, int group)
{
    Emitter *b = part_body(e);
    let_int(b, "channels", channels);
    let_int(b, "group", group);
    loop(b, "f", 36);
        loop_between(b, "cb", "0", "in");
            comment(b, "register tile: $channels input channels x $group vectors of output channels");
            step_loop(b, "c", lanes, channels);
                line(b, "real *s = S + f * s_plane + (cb * L + c) * $group * L;");
                line(b, "vec sum[$channels][$group];");
                unrolled(b, "p", channels);
                    unrolled(b, "v", group);
                        line(b, "sum[p][v] = more ? load(s + (p * $group + v) * L) : zero;");
                end(b, 2);
                loop_between(b, "t", "0", "tiles");
                    line(b, "const real *x = V + f * v_plane + (cb * tiles + t) * L + c;");
                    line(b, "vec d[$group];");
                    unrolled(b, "v", group);
                        line(b, "d[v] = load(D + f * d_plane + (v * tiles + t) * L);");
                    end(b, 1);
                    unrolled(b, "p", channels);
                        unrolled(b, "v", group);
                            line(b, "sum[p][v] += x[p] * d[v];");
                end(b, 3);
                unrolled(b, "p", channels);
                    unrolled(b, "v", group);
                        line(b, "store(s + (p * $group + v) * L, sum[p][v]);");
    end(b, 5);
    return shared_part(e, substitute(b, "winograd_sums_${channels}x$group"),
                       "S = V' D, point by point, of `tiles` tiles and `in` blocks of input channels; a plane is the "
                       "distance of two\n * points; `more`: added to what S holds.",
                       "const real *V, int v_plane, const real *D, int d_plane, real *S, int s_plane, int tiles, "
                       "int in, int more", b);
}

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
    return shared_part(e, "winograd_cut", "V = B' d B of a tile: 6x6 pixels from p on, rows `row` apart.",
                       "const real *p, int row, real *V, int plane", b);
}

const char *spread_part(Emitter *e)
{
    Emitter *b = part_body(e);
    line(b, "vec d[6][4];");
    unrolled(b, "s", 4);
        line(b, "vec column[4], points[6];");
        unrolled(b, "r", 4);
            line(b, "column[r] = load(p + r * row + s * L);");
        end(b, 1);
        line(b, "winograd_spread(column, points);");
        unrolled(b, "r", 6);
            line(b, "d[r][s] = points[r];");
    end(b, 2);
    unrolled(b, "r", 6);
        line(b, "vec points[6];");
        line(b, "winograd_spread(d[r], points);");
        unrolled(b, "s", 6);
            line(b, "store(D + (r * 6 + s) * plane, points[s]);");
    end(b, 2);
    return shared_part(e, "winograd_spread_tile", "D = A dY A' of a tile: 4x4 pixels from p on, rows `row` apart.",
                       "const real *p, int row, real *D, int plane", b);
}

const char *join_part(Emitter *e)
{
    Emitter *b = part_body(e);
    line(b, "vec m[4][6];");
    unrolled(b, "s", 6);
        line(b, "vec column[6], sums[4];");
        unrolled(b, "r", 6);
            line(b, "column[r] = load(Z + (r * 6 + s) * plane);");
        end(b, 1);
        line(b, "winograd_output(column, sums);");
        unrolled(b, "r", 4);
            line(b, "m[r][s] = sums[r];");
    end(b, 2);
    unrolled(b, "r", 4);
        line(b, "winograd_output(m[r], y[r]);");
    end(b, 1);
    return shared_part(e, "winograd_join", "y = A' Z A: the 4x4 pixels of a tile.",
                       "const real *Z, int plane, vec y[4][4]", b);
}

const char *filters_part(Emitter *e, bool turned)
{
    Emitter *b = part_body(e);
    loop_between(b, "c", "0", "L");
        line(b, "vec u[6][3];");
        unrolled(b, "s", 3);
            line(b, "vec column[3], points[6];");
            unrolled(b, "r", 3);
                line(b, "column[r] = load(W + ((r * 3 + s) * L + c) * L);");
            end(b, 1);
            line(b, "winograd_filter(column, points);");
            unrolled(b, "r", 6);
                line(b, "u[r][s] = points[r];");
        end(b, 2);
        unrolled(b, "r", 6);
            line(b, "vec points[6];");
            line(b, "winograd_filter(u[r], points);");
            unrolled(b, "s", 6);
                line(b, "store(U + (r * 6 + s) * plane + c * row, points[s]);");
    end(b, 3);
    const char *parameters = "const real *W, real *U, int plane, int row";
    const char *plain = shared_part(e, "winograd_filters",
                                    "U = G g G' of L x L filters; those of the next input channel lie a row behind.",
                                    parameters, b);
    if (!turned)
        return plain;
    b = part_body(e);
    let(b, "filters", "%s", plain);
    line(b, "_Alignas(vec) real turned[9 * L * L];");
    loop(b, "tap", 9);
        line(b, "vec rows[L];");
        loop_between(b, "c", "0", "L");
            line(b, "rows[c] = load(W + (tap * L + c) * L);");
        end(b, 1);
        line(b, "transpose(rows);");
        loop_between(b, "c", "0", "L");
            line(b, "store(turned + ((8 - tap) * L + c) * L, rows[c]);");
    end(b, 2);
    line(b, "$filters(turned, U, plane, row);");
    return shared_part(e, "winograd_turned_filters",
                       "The same of filters rotated by 180 degrees, the lanes of input and output channels exchanged.",
                       parameters, b);
}

const char *gather_part(Emitter *e)
{
    Emitter *b = part_body(e);
    loop_between(b, "c", "0", "L");
        line(b, "vec u[3][6];");
        unrolled(b, "s", 6);
            line(b, "vec column[6], taps[3];");
            unrolled(b, "r", 6);
                line(b, "column[r] = load(S + (r * 6 + s) * plane + c * row);");
            end(b, 1);
            line(b, "winograd_gather(column, taps);");
            unrolled(b, "r", 3);
                line(b, "u[r][s] = taps[r];");
        end(b, 2);
        unrolled(b, "r", 3);
            line(b, "vec taps[3];");
            line(b, "winograd_gather(u[r], taps);");
            unrolled(b, "s", 3);
                line(b, "store(dW + ((r * 3 + s) * L + c) * L, taps[s]);");
    end(b, 3);
    return shared_part(e, "winograd_gather_filters",
                       "dW = G' S G of L x L filters; the sums of the next input channel lie a row behind.",
                       "const real *S, int plane, int row, real *dW", b);
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
                       "Z = U V of so many tiles and blocks of input channels; `more`: added to what Z holds.",
                       "const real *U, int u_plane, const real *V, int v_plane, real *Z, int z_plane, int tiles, int in, "
                       "int more", b);
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
                       "S = V' D of so many tiles and blocks of input channels; `more`: added to what S holds.",
                       "const real *V, int v_plane, const real *D, int d_plane, real *S, int s_plane, int tiles, int in, "
                       "int more", b);
}

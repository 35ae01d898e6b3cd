#!/bin/sh
# train.sh - trains every network of the course on Fashion-MNIST for some hundred steps: does its loss fall?
#
#     tests/zoo/train.sh CNNC FOLDER [NAME...]          exit status 1 when a loss does not fall
#
# Four passes over the first STEPS / 4 batches (STEPS=200 in the environment), shuffled anew each time; "first" and
# "last" are the mean training loss of the first and of the last pass, and the accuracies are those of the last. LeNet's
# sigmoids stay on their plateau for 500 steps, and LeNet gets four epochs of the whole training set. Widths and
# pictures are such that each other network takes a minute or two in the textbook code; the runtime resizes the
# pictures. Two networks train at a time, a thread each, and print their rows as they end.
#
# The loss must fall by a twentieth at least, and as far below ln 10, the loss of one who knows nothing: chance, or the
# end of a bad beginning, is less.
set -u

# network                batch  picture  parameters of the network (- none)  options of the trainer
networks='
lenet                    256    1x28x28  -                           --lr=0.9 --limit-batches=234
d2l/softmax_regression   32     1x28x28  -
d2l/mlp                  32     1x28x28  -
d2l/mlp_batchnorm        32     1x28x28  -
d2l/lenet_batchnorm      32     1x28x28  -
d2l/alexnet              16     1x96x96  -Dratio=8,-Dhidden=256
d2l/vgg11                16     1x32x32  -Dratio=8,-Dhidden=256
d2l/vgg13                16     1x32x32  -Dratio=8,-Dhidden=256
d2l/vgg16                16     1x32x32  -Dratio=8,-Dhidden=256
d2l/vgg19                16     1x32x32  -Dratio=8,-Dhidden=256
d2l/nin                  16     1x96x96  -Dratio=8
d2l/googlenet            16     1x64x64  -Dratio=4
d2l/resnet18             16     1x64x64  -Dratio=8
d2l/resnet34             16     1x64x64  -Dratio=8
d2l/densenet             16     1x64x64  -Dgrowth=8
d2l/mobilenet            16     1x64x64  -Dratio=4,-Dclasses=10
d2l/unet                 16     1x32x32  -Dwidth=4
'
format='%-24s %-14s %-24s %5s %8s %8s %9s %9s  %s\n'

# Trains one network and prints its row, which ends with FAILED where it cannot be built or its loss does not fall.
row() {
    path=$1 batch=$2 picture=$3 defines=$4 out=$folder/$(echo "$1" | tr / _)
    shift 4
    flags=$([ "$defines" = - ] || echo "$defines" | tr , ' ')
    if "$cnnc" --batch "$batch" --input "$picture" $flags "dsl-examples/$path.net" -o "$out" 2>"$out.errors" &&
       "$out" train --data fashion-mnist --threads 1 --epochs 4 --limit-batches $((steps / 4)) "$@" --out "$out.run" \
           >"$out.log" 2>>"$out.errors"
    then
        awk -F, -v path="$path" -v size="$batch x $picture" -v flags="$flags" -v format="$format" '
            NR == 2 { first = $3 }
            NR > 1  { last = $3; steps = $2; accuracy = $4; test = $6 }
            END     { fell = NR > 4 && last < 0.95 * first && last < 0.95 * log(10)     # not where it is no number
                      printf format, path, size, flags, steps, sprintf("%.4f", first), sprintf("%.4f", last),
                             accuracy, test, fell ? "" : "FAILED: the loss does not fall" }' "$out.run/metrics.csv"
    else
        echo "$path FAILED: $(tail -n 1 "$out.errors")"
    fi
}

if [ "${1-}" = --row ]; then
    shift
    row "$@"
    exit 0
fi

export cnnc="$1" folder="$2" steps="${STEPS:-200}"
shift 2
mkdir -p "$folder"
# shellcheck disable=SC2059
printf "$format" network batch parameters steps first last accuracy test ''
echo "$networks" | while read -r path rest; do
    case " ${*:-$path} " in *" $path "*) [ -z "$path" ] || echo "$path $rest" ;; esac
done | xargs -P 2 -L 1 "$0" --row | tee "$folder/table"
failed=$(grep -c FAILED "$folder/table")
passed=$(($(wc -l <"$folder/table") - failed))
echo "$passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" != 0 ]

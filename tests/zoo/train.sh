#!/bin/sh
# train.sh - trains every network of the course on Fashion-MNIST for some hundred steps: does its loss fall?
#
#     tests/zoo/train.sh CNNC FOLDER [NAME...]          exit status 1 when a loss does not fall
#
# Four passes over the first STEPS / 4 batches (STEPS=200 in the environment), shuffled anew each time; "first" and
# "last" are the mean training loss of the first and of the last pass, and the accuracies are those of the last. Widths
# and pictures are such that each network takes a minute or two in the textbook code; the runtime resizes the pictures.
# The learning rates are those of the networks, but where the smaller network, or so short a run, asks for another.
# A loss that falls by less than a twentieth has not fallen: chance makes it move by a hundredth.
set -u
cnnc=$1 folder=$2
shift 2
steps=${STEPS:-200}
mkdir -p "$folder"

# network                     batch  picture  parameters of the network         options of the trainer
networks='
lenet                         32     1x28x28  -                                 --lr=2
d2l/softmax_regression        32     1x28x28  -                                 -
d2l/mlp                       32     1x28x28  -                                 -
d2l/mlp_batchnorm             32     1x28x28  -                                 -
d2l/lenet_batchnorm           32     1x28x28  -                                 -
d2l/alexnet                   16     1x96x96  -Dratio=8_-Dhidden=256            -
d2l/vgg11                     16     1x32x32  -Dratio=8_-Dhidden=256            -
d2l/vgg13                     16     1x32x32  -Dratio=8_-Dhidden=256            -
d2l/vgg16                     16     1x32x32  -Dratio=8_-Dhidden=256            -
d2l/vgg19                     16     1x32x32  -Dratio=8_-Dhidden=256            -
d2l/nin                       16     1x96x96  -Dratio=8                         -
d2l/googlenet                 16     1x64x64  -Dratio=4                         -
d2l/resnet18                  16     1x64x64  -Dratio=8                         -
d2l/resnet34                  16     1x64x64  -Dratio=8                         -
d2l/densenet                  16     1x64x64  -Dgrowth=8                        -
d2l/mobilenet                 16     1x64x64  -Dratio=4_-Dclasses=10            -
d2l/unet                      16     1x32x32  -Dwidth=4                         -
'

# Splits the words that `_` joins; - stands for none.
words() { [ "$1" = - ] || echo "$1" | sed 's/_-/ -/g'; }

# Trains one network and prints its row; 1: it cannot be built, cannot be trained, or its loss does not fall.
row() {
    path=$1 batch=$2 picture=$3 out=$folder/$(echo "$1" | tr / _)
    "$cnnc" --batch "$batch" --input "$picture" $(words "$4") "dsl-examples/$path.net" -o "$out" || return 1
    "$out" train --data fashion-mnist --epochs 4 --limit-batches $((steps / 4)) $(words "$5") --out "$out.run" \
        >"$out.log" 2>"$out.errors" || { cat "$out.errors"; return 1; }
    awk -F, -v path="$path" -v size="$batch x $picture" -v flags="$(words "$4")" '
        NR == 2 { first = $3 }
        NR > 1  { last = $3; steps = $2; accuracy = $4; test = $6 }
        END     { fell = NR == 5 && last < 0.95 * first         # false where a loss is not a number
                  printf "%-24s %-14s %-22s %5d %8.4f %8.4f %9.4f %9.4f%s\n", path, size, flags, steps, first, last,
                         accuracy, test, fell ? "" : "   FAILED: the loss does not fall"
                  exit !fell }' "$out.run/metrics.csv"
}

printf '%-24s %-14s %-22s %5s %8s %8s %9s %9s\n' network batch parameters steps first last accuracy test
passed=0 failed=0
while read -r path batch picture defines options; do
    [ -n "$path" ] || continue
    case " ${*:-$path} " in *" $path "*) ;; *) continue ;; esac
    if row "$path" "$batch" "$picture" "$defines" "$options"
    then passed=$((passed + 1))
    else failed=$((failed + 1))
    fi
done <<END
$networks
END
echo "$passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" != 0 ]

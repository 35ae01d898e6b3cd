# cnnc - build, demonstrate, test. `make help` lists the targets.
#
# The two commands of the README are `make demo` and `make test`; each installs what is missing first.
# B=other-folder builds there instead of build/.

PACKAGES := gcc libc6-dev clang-19 libomp-19-dev libclang-rt-19-dev flex bison libcriterion-dev zlib1g-dev \
            libjansson-dev libjpeg62-turbo-dev libpng-dev libopenmpi-dev openmpi-bin dataset-fashion-mnist lld-19 \
            libc6-dev-arm64-cross libgcc-12-dev-arm64-cross qemu-user

B        := build
CC       := clang-19
WARN     := -std=gnu11 -D_GNU_SOURCE= -Wall -Wextra -Wpedantic -Werror
CFLAGS   := -O2 -g
SAN      :=
# gcc calls OpenMP through functions that libgomp and LLVM's libomp both have, so that either compiler's trainer links.
RUNTIME_CC = $(if $(SAN),$(CC),gcc)
# Under a sanitizer a loop may stay scalar that "omp simd" asked to be vectors.
ALL_CFLAGS = $(WARN) $(CFLAGS) $(if $(SAN),$(SAN) -Wno-pass-failed)

COMPILER := $(filter-out compiler/main.c,$(wildcard compiler/*.c)) $(wildcard compiler/ops/*.c compiler/kernels/*.c)
OBJECTS  := $(COMPILER:%.c=$B/%.o) $B/compiler/parser.o $B/compiler/lexer.o
RUNTIME  := $(wildcard runtime/*.c runtime/*/*.c)

## all             the compiler (build/cnnc) and, beside it, the runtime (libcnn.a, libcnn-double.a, include/)
all: $B/cnnc $B/libcnn.a $B/libcnn-double.a $B/include/cnn.h $B/include/trainer.h

help:
	@sed -n 's/^## //p' Makefile

## deps            installs the Debian packages that are missing (apt-get, through sudo where one is not root)
deps:
	@missing=$$(for p in $(PACKAGES); do \
	    dpkg-query -W -f '$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || printf ' %s' $$p; done); \
	if [ -n "$$missing" ]; then \
	    echo "installing:$$missing"; \
	    if [ "$$(id -u)" = 0 ]; then run=; else run=sudo; fi; \
	    $$run apt-get update -q && \
	    DEBIAN_FRONTEND=noninteractive $$run apt-get install -q -y --no-install-recommends $$missing; \
	fi

$B/cnnc: $B/compiler/main.o $B/libcnnc.a
	$(CC) $(SAN) -o $@ $^ -lm

$B/libcnnc.a: $(OBJECTS)
	rm -f $@ && ar rcs $@ $^

$B/compiler/%.o: compiler/%.c
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -MMD -MP -Icompiler -I$B/compiler -c -o $@ $<

$B/compiler/nodes.o: $B/compiler/parser.h

$B/compiler/parser.c $B/compiler/parser.h: compiler/parser.y
	@mkdir -p $(@D)
	bison -Wall -Werror --defines=$B/compiler/parser.h -o $B/compiler/parser.c $<

$B/compiler/lexer.c: compiler/lexer.l $B/compiler/parser.h
	flex -o $@ $<

$B/compiler/parser.o $B/compiler/lexer.o: $B/compiler/%.o: $B/compiler/%.c
	$(CC) -std=gnu11 -Wall -Wextra -Wno-unused-function $(CFLAGS) $(SAN) -MMD -MP -Icompiler -I$B/compiler -c -o $@ $<

$B/include/%.h: runtime/%.h
	@mkdir -p $(@D)
	cp $< $@

# The runtime is built twice: in float, and in double for gradient checks (cnnc --double).
$B/libcnn.a: $(RUNTIME:%.c=$B/%.o)
	rm -f $@ && ar rcs $@ $^
$B/libcnn-double.a: $(RUNTIME:runtime/%.c=$B/runtime-double/%.o)
	rm -f $@ && ar rcs $@ $^
$B/runtime/%.o: runtime/%.c
	@mkdir -p $(@D)
	$(RUNTIME_CC) $(ALL_CFLAGS) -fPIC -fopenmp -MMD -MP -Iruntime -c -o $@ $<
$B/runtime-double/%.o: runtime/%.c
	@mkdir -p $(@D)
	$(RUNTIME_CC) $(ALL_CFLAGS) -fPIC -fopenmp -DREAL=double -MMD -MP -Iruntime -c -o $@ $<
$B/runtime/ranks/ranks_mpi.o $B/runtime-double/ranks/ranks_mpi.o: \
    ALL_CFLAGS += $(patsubst -I%,-isystem%,$(shell mpicc --showme:compile))

## demo            installs what is missing, builds, compiles LeNet and trains it on Fashion-MNIST (EPOCHS=10)
EPOCHS := 10
demo: deps
	@$(MAKE) --no-print-directory all
	@mkdir -p $B/demo
	$B/cnnc show dsl-examples/lenet.net
	$B/cnnc dsl-examples/lenet.net -o $B/demo/lenet
	$B/demo/lenet train --data fashion-mnist --epochs $(EPOCHS) --out $B/demo/run

## generated       rewrites generated/ with this compiler; check-generated fails where it differs from what is committed
GENERATED := dsl-examples/lenet.net $(wildcard dsl-examples/d2l/*.net)
GENERATE   = for f in $(GENERATED); do $B/cnnc -O0 $$f -o $(1)/$$(basename $$f .net).c || exit 1; done
generated: $B/cnnc
	@$(call GENERATE,generated)

check-generated: $B/cnnc
	@rm -rf $B/generated && mkdir -p $B/generated
	@$(call GENERATE,$B/generated)
	@diff -rq generated $B/generated || { echo "generated/ is out of date: make generated"; exit 1; }

## test            installs what is missing, builds, and runs every test (TEST=pattern chooses: TEST='lexer/*')
TESTS    := $(wildcard tests/*.c)
TEST     := *
test: deps
	@$(MAKE) --no-print-directory check

check: all check-generated $B/tests/run
	$B/tests/run --jobs 2 --timeout 600 --filter '$(TEST)'

$B/tests/run: $(TESTS:%.c=$B/%.o) $B/libcnnc.a $B/libcnn.a
	$(CC) $(SAN) -fopenmp -o $@ $^ -lcriterion -lz -ljansson -ljpeg -lpng -lm

# Tests find the tree, the compiler and their scratch folder through these.
$B/tests/%.o: tests/%.c
	@mkdir -p $(@D)
	$(CC) $(filter-out -Wpedantic,$(ALL_CFLAGS)) -MMD -MP -Icompiler -Iruntime -DBUILD='"$B"' -c -o $@ $<

## test-long       NETWORKS=300 fresh random networks (from seed FIRST=1) live against PyTorch, and a trainer killed at
##                 every system call of three saves; 20 minutes on two cores
NETWORKS := 300
FIRST    := 1
test-long: deps venv
	@$(MAKE) --no-print-directory all $B/tests/run
	KILL_POINTS=all $B/tests/run --filter 'kill/*'
	$B/venv/bin/python tests/random/run.py --cnnc $B/cnnc --count $(NETWORKS) --first $(FIRST)
	$B/venv/bin/python tests/random/run.py --cnnc $B/cnnc --count $(NETWORKS) --first $(FIRST) --level 2

## test-pytorch    every network of the zoo live against PyTorch, weights files both ways; 15 minutes on two cores
test-pytorch: deps venv
	@$(MAKE) --no-print-directory all
	nice $B/venv/bin/python tests/zoo/compare.py --cnnc $B/cnnc
	nice $B/venv/bin/python tests/zoo/compare.py --cnnc $B/cnnc --level 2
	nice $B/venv/bin/python tests/zoo/weights.py --cnnc $B/cnnc

## train-zoo       every network of the course on Fashion-MNIST for STEPS=200 steps; half an hour on two cores
STEPS    := 200
train-zoo: deps
	@$(MAKE) --no-print-directory all
	STEPS=$(STEPS) nice tests/zoo/train.sh $B/cnnc $B/train-zoo

## venv            PyTorch in build/venv, for test-long and test-pytorch; some GB (without CUDA: PIP='--index-url ...')
PIP      :=
venv: $B/venv/complete
$B/venv/complete:
	@$(MAKE) --no-print-directory PACKAGES=python3-venv deps
	python3 -m venv $B/venv
	$B/venv/bin/pip install -q $(PIP) torch torchvision numpy safetensors
	touch $@

## bench           kernels against the machine's limits, whole steps against PyTorch, ONNX Runtime and OpenVINO; 40
##                 minutes on two quiet cores
##                 (WHAT=kernels,steps NETS=resnet18,lenet PASSES=train,predict MODES=nchw,nhwc REPEAT=7)
BENCH  = $(if $(WHAT),--what $(WHAT)) $(if $(NETS),--nets $(NETS)) $(if $(PASSES),--passes $(PASSES)) \
         $(if $(MODES),--modes $(MODES)) $(if $(REPEAT),--repeat $(REPEAT)) $(if $(THREADS),--threads $(THREADS))
bench: deps bench-deps
	@$(MAKE) --no-print-directory all
	$B/venv/bin/python tests/bench/run.py --cnnc $B/cnnc --out $B/bench $(BENCH)

## bench-deps      what bench compares with, in build/venv: PyTorch, ONNX Runtime, OpenVINO; torch.compile needs g++
bench-deps: venv $B/venv/bench
$B/venv/bench:
	@$(MAKE) --no-print-directory PACKAGES='g++ python3-dev' deps
	$B/venv/bin/pip install -q onnx onnxruntime openvino
	touch $@

## fuzz            libFuzzer on every parser, SECONDS=60 each, and about 2 minutes to build (FUZZED='jpeg png' chooses)
SECONDS  := 60
FUZZED   := net idx safetensors cifar npy jpeg png
FUZZ      = -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all
FUZZ_RUN  = -close_fd_mask=2 -timeout=5 -rss_limit_mb=1024 -max_total_time=$(SECONDS) -artifact_prefix=$B/fuzz/
fuzz: deps
	$(MAKE) B=$B/fuzz CFLAGS="-O1 -g" SAN="-fsanitize=fuzzer-no-link,address,undefined" $B/fuzz/libcnnc.a $B/fuzz/libcnn.a
	@for target in $(FUZZED); do \
	    $(CC) -std=gnu11 -D_GNU_SOURCE= -O1 -g $(FUZZ) -fopenmp -Icompiler -Iruntime -o $B/fuzz/$$target \
	        tests/fuzz/fuzz_$$target.c $B/fuzz/libcnnc.a $B/fuzz/libcnn.a -lz -ljansson -ljpeg -lpng -lm || exit 1; \
	    mkdir -p $B/fuzz/new/$$target; \
	    dictionary=$$(ls tests/fuzz/$$target.dict 2>/dev/null); \
	    echo "fuzzing $$target for $(SECONDS) s"; \
	    $B/fuzz/$$target $(FUZZ_RUN) $${dictionary:+-dict=$$dictionary} $B/fuzz/new/$$target tests/fuzz/corpus/$$target \
	        > $B/fuzz/$$target.log 2>&1 || { tail -30 $B/fuzz/$$target.log; exit 1; }; \
	    tail -1 $B/fuzz/$$target.log; \
	done

## tsan            the loader's tests and a training run under the thread sanitizer; 3 minutes
TSAN = $(CC) -std=gnu11 -D_GNU_SOURCE= -O1 -g -fsanitize=thread -fopenmp -Itests/tsan -Iruntime
tsan: deps
	@$(MAKE) --no-print-directory B=$B/tsan SAN=-fsanitize=thread CFLAGS="-O1 -g" $B/tsan/libcnn.a
	$(TSAN) -o $B/tsan/loader tests/test_loader.c $B/tsan/libcnn.a -lz -ljansson -lm
	$(TSAN) -DCNN_MAIN -o $B/tsan/fake tests/fake_network.c $B/tsan/libcnn.a -lz -ljansson -lm
	export OMP_TOOL_LIBRARIES=/usr/lib/llvm-19/lib/libarcher.so TSAN_OPTIONS='ignore_noninstrumented_modules=1'; \
	    $B/tsan/loader && $B/tsan/fake train --epochs 2 --loader-threads 3 --threads 2 --flip --crop 2 --out $B/tsan/run

## clean           removes build/
clean:
	rm -rf $B

-include $(shell find $B -name '*.d' 2>/dev/null)
.PHONY: all help deps demo generated check-generated test check test-long test-pytorch train-zoo venv bench bench-deps \
        fuzz tsan clean

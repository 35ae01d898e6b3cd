"""Random valid networks from a seed, in every construct of the language.

    python tests/random/generate.py 17          prints the .net file of seed 17

Two kinds of statements are made. A free one looks at the shape that reaches it and picks whatever fits: any window,
stride, padding and group count. A steady one does not: it is valid for every shape of its rank and keeps height and
width, and so may stand in a repeat, in a block that is called twice, or beside another branch. A steady body is made
anew for every turn from the same random numbers (`replay`), so its text is the same while its values follow the shape.
"""
import random
import sys

from network import (Block, Call, Concat, Group, If, Mark, Network, Number, Op, Repeat, Residual, net_file, pair,
                     render, window_sizes)

MAX_LAYERS, MAX_TENSORS, MAX_VALUES, MAX_PARAMETERS = 34, 60, 20000, 30000     # of a network; values of one picture
ACTIVATIONS = ["relu", "relu", "relu", "relu6", "leaky_relu", "sigmoid", "tanh", "silu"]
COMPARISONS = {">": int.__gt__, "<": int.__lt__, "==": int.__eq__, "!=": int.__ne__, "<=": int.__le__, ">=": int.__ge__}


class TooLarge(Exception):
    """The network has outgrown the limits above: another one is tried."""


class Generator:
    def __init__(self, seed):
        self.random = random.Random(seed)
        self.blocks, self.calls = [], {}        # Blocks, and what is needed to make each one's body again
        self.visible = None                     # how many blocks a body may call; None: any
        self.names = 0                          # labels and tensors' names made so far in this scope
        self.labels = "plain"                   # "plain"; None where a repeat would use one twice; (variable, value)
        self.marks = []                         # (name, shape) of the network's own `as` statements
        self.layers = self.tensors = self.values = self.parameters = 0

    # ---- small choices ---------------------------------------------------------------------------------------------

    def chance(self, p):
        return self.random.random() < p

    def pick(self, *options):
        return self.random.choice(options)

    def weighted(self, table):
        """A key of {key: weight}."""
        return self.random.choices(list(table), list(table.values()))[0]

    def label(self, keyword):
        make_one = self.chance(0.4)
        self.names += 1
        if not make_one or self.labels is None:
            return None
        base = f"{keyword.rstrip('0123456789')}{self.names}"
        if self.labels == "plain":
            return base, base
        variable, value = self.labels
        return f"{base}_{value}", f"{base}_[{variable}]"

    def width(self):
        """A number of channels: most are small, some straddle the lanes of a vector."""
        return self.weighted({self.random.randint(1, 9): 12, self.random.randint(10, 17): 4,
                              self.random.randint(31, 33): 1, self.random.randint(47, 65): 1})

    def number(self, env, shape):
        """A size from 1 up: a literal, or an expression over the variables in scope and the current tensor."""
        literal, kind = self.width(), self.random.random()
        size = "in.channels" if len(shape) == 3 else "in.features"
        if env and kind < 0.45:
            n = self.pick(*sorted(env))
            v = env[n]
            return Number(*self.pick((v, n), (v + 3, f"{n} + 3"), (2 * v, f"2 * {n}"), (v << 1, f"{n} << 1"),
                                     ((v + 5) // 2, f"({n} + 5) / 2"), (v % 4 + 2, f"{n} % 4 + 2"),
                                     (v if v > 3 else 5, f"{n} > 3 ? {n} : 5"), (max(v, 4), f"max({n}, 4)"),
                                     (2 * v - 1, f"-1 + {n} * 2"), (abs(v - 6) + 1, f"abs({n} - 6) + 1")))
        if kind < 0.6:
            c = shape[0]
            return Number(*self.pick((min(c, 20), f"min({size}, 20)"), (c // 2 + 1, f"{size} / 2 + 1"),
                                     (min(c + 2, 12), f"min({size} + 2, 12)"), (c % 5 + 2, f"{size} % 5 + 2"),
                                     (c if c < 9 else 3, f"{size} < 9 ? {size} : 3")))
        return Number(literal)

    def condition(self, env, shape):
        """(text, value)"""
        names = {**env, ("in.channels" if len(shape) == 3 else "in.features"): shape[0]}
        name, sign, limit = self.pick(*sorted(names)), self.pick(*COMPARISONS), self.random.randint(1, 12)
        value, words = COMPARISONS[sign](int(names[name]), limit), f"{name} {sign} {limit}"
        return (f"!({words})", not value) if self.chance(0.2) else (words, value)

    # ---- bookkeeping -----------------------------------------------------------------------------------------------

    def op(self, keyword, args, shape, tensors=0, parameters=0, labelled=True):
        """One operator whose output is `shape`."""
        self.layers += 1
        self.tensors += tensors
        self.parameters += parameters
        count = 1
        for n in shape:
            count *= n
        self.values += count
        if (self.layers > MAX_LAYERS or self.tensors > MAX_TENSORS or self.values > MAX_VALUES
                or self.parameters > MAX_PARAMETERS or count > 4000):
            raise TooLarge
        label = self.label(keyword) if labelled else None
        return [Op(keyword, args, label)], tuple(int(n) for n in shape)

    def joined(self, shape):
        """The layer that residual or concat adds."""
        self.op("add", {}, shape, labelled=False)
        return shape

    def replay(self, seed, make):
        """make() with the random numbers that `seed` begins."""
        saved, self.random = self.random, random.Random(seed)
        made = make()
        self.random = saved
        return made

    def new_seed(self):
        return self.random.getrandbits(40)

    # ---- operators -------------------------------------------------------------------------------------------------

    def conv(self, shape, args):
        """The output's shape follows from the arguments; None where the window does not fit or is too much work."""
        kernel = pair(args["kernel"])
        (height, width), _ = window_sizes(shape[1:], kernel, pair(args.get("stride", 1)), args.get("pad", 0),
                                          pair(args.get("dilation", 1)))
        if height < 1 or width < 1:
            return None
        out = int(args["channels"])
        weights = out * (shape[0] // int(args.get("groups", 1))) * kernel[0] * kernel[1]
        if weights * height * width > 1500000:
            raise TooLarge
        bias = args.get("bias", True)
        return self.op("conv", args, (out, height, width), 1 + bias, weights)

    def small_kernel(self, largest=4):
        if self.chance(0.35):
            return self.random.randint(1, largest + 1), self.random.randint(1, largest)
        return self.weighted({1: 3, 2: 2, 3: 6, 4: 1, 5: 1})

    def conv_steady(self, shape, env):
        out, depthwise = self.number(env, shape), self.chance(0.2)
        args = {"channels": Number(shape[0], "in.channels") if depthwise else out, "kernel": self.small_kernel()}
        if self.chance(0.15) and env:
            n = self.pick(*sorted(env))
            args["kernel"] = Number(env[n] % 3 + 1, f"{n} % 3 + 1")
        if args["kernel"] != 1 or isinstance(args["kernel"], Number):
            args["pad"] = "same"
        if self.chance(0.2):
            args["dilation"] = self.pick(2, (1, 2), (2, 1), 3)
            args["pad"] = "same"
        if depthwise:
            args["groups"] = Number(shape[0], "in.channels")
        if self.chance(0.4):
            args["bias"] = False
        return self.conv(shape, args)

    def conv_free(self, shape, env):
        """Any window that fits."""
        for _ in range(20):
            args = {"channels": self.number(env, shape), "kernel": self.small_kernel()}
            if self.chance(0.45):
                args["stride"] = self.pick(2, 3, (1, 2), (2, 1), (3, 2))
            if self.chance(0.3):
                args["dilation"] = self.pick(2, (2, 1), (1, 3), (2, 3))
            pad = self.random.random()
            if pad < 0.75:
                some = [self.random.randint(0, 2) for _ in range(4)]
                args["pad"] = "same" if pad < 0.2 else some[0] if pad < 0.4 else tuple(some[:2 if pad < 0.55 else 4])
            if self.chance(0.3):
                divisors = [g for g in range(1, shape[0] + 1) if shape[0] % g == 0]
                groups = self.pick(divisors[-1], self.pick(*divisors))
                args["groups"] = groups
                args["channels"] = groups * self.random.randint(1, max(1, 12 // groups))
            if self.chance(0.35):
                args["bias"] = self.chance(0.2)
            made = self.conv(shape, args)
            if made:
                return made
        return self.conv_steady(shape, env)

    def pool_steady(self, shape, env):
        del env
        keyword, kernel = self.pick("maxpool", "avgpool"), self.pick(2, 3, (1, 2), (3, 2), 4)
        args = {"kernel": kernel, "stride": 1, "pad": "same"}
        if kernel == 3 and self.chance(0.6):
            args["pad"] = 1
        if keyword == "avgpool" and self.chance(0.5):
            args["count_pad"] = self.chance(0.2)
        return self.op(keyword, args, shape)

    def pool_free(self, shape, env):
        for _ in range(20):
            keyword = self.pick("maxpool", "avgpool")
            args = {"kernel": self.pick(2, 2, 3, 3, (2, 3), (3, 1), (1, 2), 4)}
            kernel = pair(args["kernel"])
            if self.chance(0.6):
                args["stride"] = self.pick(1, 2, 2, 3, (2, 1), (1, 2))
            if self.chance(0.5):
                most = min(kernel) - 1
                some = [self.random.randint(0, most) for _ in range(4)]
                args["pad"] = self.pick("same", some[0], some[0], tuple(some[:2]), tuple(some))
            if self.chance(0.4):
                args["ceil"] = self.chance(0.85)
            if keyword == "avgpool" and self.chance(0.5):
                args["count_pad"] = self.chance(0.2)
            (height, width), border = window_sizes(shape[1:], kernel, pair(args.get("stride", kernel)),
                                                   args.get("pad", 0), ceil=args.get("ceil", False))
            fits = all(shape[1 + d] + border[2 * d] + border[2 * d + 1] >= kernel[d] for d in (0, 1))
            if fits and height >= 1 and width >= 1:     # rounded up or not, a whole window must fit
                return self.op(keyword, args, (shape[0], height, width))
        return self.pool_steady(shape, env)

    def adaptive(self, shape, env):
        del env
        most = min(5, max(shape[1:]) + 1)
        height, width = self.random.randint(1, most), self.random.randint(1, most)
        if self.chance(0.5):
            return self.op("adaptive_avgpool", {"size": height}, (shape[0], height, height))
        return self.op("adaptive_avgpool", {"size": (height, width)}, (shape[0], height, width))

    def activation(self, shape, env):
        del env
        keyword = self.pick(*ACTIVATIONS)
        slope = self.pick(None, 0.25, 0.125, 0.0, 1.5)
        return self.op(keyword, {"slope": slope} if keyword == "leaky_relu" and slope is not None else {}, shape)

    def batchnorm(self, shape, env):
        del env
        args = {}
        if self.chance(0.3):
            args["eps"] = self.pick(1e-3, 0.01, 1e-5)
        if self.chance(0.3):
            args["momentum"] = self.pick(0.25, 0.01, 1.0, 0.0)
        return self.op("batchnorm", args, shape, 5)

    def lrn(self, shape, env):
        del env
        args = {"size": self.random.randint(1, 6)}
        for name, values in {"alpha": (0.5, 0.01, 2.0), "beta": (0.5, 0.75, 1.0), "k": (1, 2, 1.5)}.items():
            if self.chance(0.5):
                args[name] = self.pick(*values)
        return self.op("lrn", args, shape)

    def softmax(self, shape, env):
        del env
        return self.op("softmax", {}, shape)

    def dropout(self, shape, env):
        del env
        return self.op("dropout", {"p": self.pick(0.25, 0.5, 0.1, 0.0)} if self.chance(0.8) else {}, shape)

    def linear(self, shape, env):
        args = {"features": self.number(env, shape)}
        if self.chance(0.35):
            args["bias"] = self.chance(0.2)
        out = int(args["features"])
        return self.op("linear", args, (out,), 1 + args.get("bias", True), out * shape[0])

    def to_channels(self, shape, channels, stride=None):
        """A convolution or linear layer that ends with so many channels."""
        if len(shape) == 1:
            return self.op("linear", {"features": channels}, (channels,), 2, channels * shape[0])
        args = {"channels": channels, "kernel": self.pick(1, 1, 3, 2)}
        if stride:
            args["stride"] = stride
        if args["kernel"] != 1:
            args["pad"] = "same"
        return self.conv(shape, args)

    # ---- constructs ------------------------------------------------------------------------------------------------

    def group(self, shape, env, depth):
        label, saved = self.label("part"), self.labels
        self.labels = "plain"
        body, shape = self.steady(shape, env, self.random.randint(1, 3), depth + 1)
        self.labels = saved
        return [Group(body, label)], shape

    def branches(self, shape, env, depth, first=None):
        """Two or three branches of equal height and width; `first` makes the statement that each begins with."""
        nodes, channels, last = [], 0, shape
        for i in range(self.pick(2, 2, 3)):
            label, saved = self.label("branch"), self.labels
            if label:
                self.labels = "plain"
            body, out = first(shape) if first else ([], shape)
            more, out = self.steady(out, env, self.random.randint(0 if i or first else 1, 2), depth + 1)
            self.labels = saved
            nodes.append(Group(body + more, label))
            channels, last = channels + out[0], out
        return [Concat(nodes)], self.joined((channels, *last[1:]))

    def residual(self, shape, env, depth):
        """One that keeps the shape, or one with a shortcut, taken always or when the channels differ."""
        kind = self.pick("same", "same", "always", "when")
        size = "in.channels" if len(shape) == 3 else "in.features"
        if kind == "same":
            body, _ = self.keeping(shape, env, self.random.randint(0 if self.chance(0.1) else 1, 3))
            return [Residual(body)], self.joined(shape)
        body, out = self.steady(shape, env, self.random.randint(0, 2), depth + 1)
        channels = Number(self.random.randint(2, 9))
        if env and self.chance(0.6):
            name = self.pick(*sorted(env))
            channels = Number(env[name] + 1, f"{name} + 1")
        end, out = self.to_channels(out, channels)
        way, _ = self.to_channels(shape, channels)
        when = (f"{size} != {channels.text}", shape[0] != channels) if kind == "when" else None
        return [Residual(body + end, way, when)], self.joined(out)

    def side(self, shape, env, depth):
        """`as` at both ends of two paths from one tensor, which add or concat joins."""
        a, b = f"tensor{self.names}", f"tensor{self.names + 1}"
        self.names += 2
        one, left = self.steady(shape, env, self.random.randint(1, 2), depth + 1)
        if self.chance(0.5):
            end, right = self.steady(shape, env, self.random.randint(1, 2), depth + 1)
            joint, out = self.op("concat", {"tensors": [b] + ([a] if self.chance(0.3) else [])},
                                 (left[0] + right[0], *right[1:]))
            if len(joint[0].args["tensors"]) == 2:
                out = (out[0] + shape[0], *out[1:])
        else:
            channels = Number(self.random.randint(1, 9))
            end_of_one, left = self.to_channels(left, channels)
            one = one + end_of_one
            end, right = self.to_channels(shape, channels)
            joint, out = self.op("add", {"tensors": [b]}, right)
        return [Mark("as", a), *one, Mark("as", b), Mark("from", a), *end, *joint], out

    def branch_if(self, shape, env, depth):
        """Only one branch is expanded, so only one may differ in shape from what the text says."""
        words, value = self.condition(env, shape)
        seeds, has_other = (self.new_seed(), self.new_seed()), self.chance(0.6)
        count, made = (self.random.randint(1, 2), self.random.randint(1, 2)), []
        for side in (True, False):
            counted = self.layers, self.tensors, self.values, self.parameters
            made.append(self.replay(seeds[side], lambda s=side: self.steady(shape, env, count[s], depth + 1)))
            if side != value:
                self.layers, self.tensors, self.values, self.parameters = counted
        (yes, out), (no, other) = made
        if not has_other:
            return [If(words, value, yes)], out if value else shape
        return [If(words, value, yes, no)], out if value else other

    def repeat(self, shape, env, depth):
        kind, seed = self.pick("number", "range", "list"), self.new_seed()
        count, size = self.random.randint(1, 3), self.random.randint(1, 3)
        labels, visible, number = self.labels, self.visible, self.names
        start = self.random.randint(1, 4)
        pairs = [(self.random.randint(1, 8), self.random.randint(1, 4)) for _ in range(count)]
        variables = {"number": [], "range": [f"i{number}"], "list": [f"c{number}", f"k{number}"]}[kind]
        if any(v in env for v in variables):
            variables = [v + "_" * (depth + 1) for v in variables]
        items = {"number": [()] * count, "range": [(start + i,) for i in range(count)], "list": pairs}[kind]
        head = {"number": str(count),
                "range": f"{''.join(variables)} in {start}..{start + count - 1}",
                "list": f"{', '.join(variables)} in [{', '.join(str(p) for p in pairs)}]"}[kind]
        turns = []
        self.visible = len(self.blocks) if visible is None else visible         # every turn has the same blocks
        for item in items:
            # A name may be given once: the variable numbers it, where there is one and no repeat around this one.
            self.labels = (variables[0], item[0]) if kind == "range" and labels == "plain" else None
            inner = {**env, **dict(zip(variables, item))}
            body, shape = self.replay(seed, lambda s=shape, e=inner: self.numbered(number + 1, s, e, size, depth + 1))
            turns.append(body)
        self.labels, self.visible = labels, visible
        return [Repeat(head, turns)], shape

    def numbered(self, names, shape, env, size, depth):
        self.names = names
        return self.steady(shape, env, size, depth)

    def call(self, shape, env, depth):
        """A block that exists, or a new one. Its second parameter has a default, which some calls leave."""
        there = self.blocks[:self.visible] if self.visible is not None else self.blocks
        usable = [b for b in there if self.calls[b.name]["rank"] == len(shape)]
        fresh = self.visible is None and (not usable or self.chance(0.5))
        label, value = self.label("block"), self.number(env, shape)
        leave, other = self.chance(0.5), self.random.randint(1, 6)
        if not usable and not fresh:
            return self.activation(shape, env)
        if fresh:
            name = f"unit{len(self.blocks)}"
            self.calls[name] = {"rank": len(shape), "seed": self.new_seed(), "size": self.random.randint(1, 4),
                                "depth": depth + 1, "visible": len(self.blocks), "default": self.random.randint(1, 6)}
        else:
            name = self.pick(*usable).name
        how = self.calls[name]
        second = how["default"] if leave else other
        args = f"({value.text})" if leave else f"({value.text}, {self.pick('', 'm = ')}{other})"
        saved = self.labels, self.names, self.visible
        self.labels, self.visible = "plain", how["visible"]
        inner = {"n": int(value), "m": second}
        body, out = self.replay(how["seed"], lambda: self.numbered(0, shape, inner, how["size"], how["depth"]))
        self.labels, self.names, self.visible = saved
        if fresh:
            self.blocks.append(Block(name, f"n, m = {how['default']}", body))
        else:
            block = next(b for b in self.blocks if b.name == name)
            assert render(block.body) == render(body), "\n".join(render(block.body) + ["----"] + render(body))
        return [Call(name, args, body, label)], out

    # ---- bodies ----------------------------------------------------------------------------------------------------

    def keeping(self, shape, env, count):
        """Statements that keep the shape altogether."""
        nodes = []
        for _ in range(count):
            if len(shape) == 3:
                make = self.weighted({"conv": 4, "activation": 3, "batchnorm": 2, "pool_steady": 1, "lrn": 1})
            else:
                make = self.weighted({"linear": 3, "activation": 3, "batchnorm": 1})
            if make == "conv":
                bias = self.chance(0.6)
                made, _ = self.conv(shape, {"channels": Number(shape[0], "in.channels"), "kernel": self.small_kernel(),
                                            "pad": "same", "bias": bias})
            elif make == "linear":
                made, _ = self.op("linear", {"features": Number(shape[0], "in.features")}, shape, 2, shape[0] ** 2)
            else:
                made, _ = getattr(self, make)(shape, env)
            nodes += made
        return nodes, shape

    STEADY_PICTURE = {"conv_steady": 30, "activation": 22, "batchnorm": 10, "pool_steady": 8, "lrn": 4, "softmax": 2,
                      "dropout": 4}
    STEADY_FLAT = {"linear": 30, "activation": 22, "batchnorm": 8, "softmax": 2, "dropout": 5}
    NESTED = {"branches": 8, "residual": 9, "group": 4, "side": 4, "branch_if": 5, "repeat": 7, "call": 8}
    FREE_PICTURE = {"conv_free": 40, "pool_free": 22, "adaptive": 4, "strided_branches": 6, "strided_residual": 6,
                    "mark": 8, "use_mark": 12}
    FREE_FLAT = {"mark": 3, "use_mark": 6}

    def steady(self, shape, env, count, depth=0):
        nodes = []
        for _ in range(count):
            table = dict(self.STEADY_PICTURE if len(shape) == 3 else self.STEADY_FLAT)
            if depth < 4:
                table.update(self.NESTED)
            made, shape = self.make(self.weighted(table), shape, env, depth)
            nodes += made
        return nodes, shape

    def make(self, kind, shape, env, depth):
        if kind in self.NESTED:
            return getattr(self, kind)(shape, env, depth)
        return getattr(self, kind)(shape, env)

    def free(self, shape, env, count):
        nodes = []
        for _ in range(count):
            picture = len(shape) == 3
            table = {**(self.STEADY_PICTURE if picture else self.STEADY_FLAT), **self.NESTED,
                     **(self.FREE_PICTURE if picture else self.FREE_FLAT)}
            made, shape = self.make(self.weighted(table), shape, env, 0)
            nodes += made
        return nodes, shape

    # ---- free constructs -------------------------------------------------------------------------------------------

    def strided_branches(self, shape, env):
        """Windows with `pad = same` and one stride end in one size, whatever their kernels."""
        stride = self.pick(2, 2, 3, (2, 1), (1, 2))

        def first(s):
            kind = self.pick("conv", "conv", "maxpool", "avgpool")
            kernel = self.small_kernel(3) if kind == "conv" else self.pick(2, 3)
            args = {"kernel": kernel, "stride": stride, "pad": "same"}
            if kind == "conv":
                return self.conv(s, {"channels": self.number(env, s), **args})
            (height, width), _ = window_sizes(s[1:], pair(kernel), pair(stride), "same")
            return self.op(kind, args, (s[0], height, width))

        return self.branches(shape, env, 1, first)

    def strided_residual(self, shape, env):
        stride, channels = self.pick(2, 3, (1, 2)), Number(self.random.randint(1, 9))
        body, out = self.to_channels(shape, self.random.randint(1, 9), stride)
        more, out = self.steady(out, env, self.random.randint(0, 2), 2)
        end, out = self.to_channels(out, channels)
        way, _ = self.to_channels(shape, channels, stride)
        return [Residual(body + more + end, way)], self.joined(out)

    def mark(self, shape, env):
        del env
        name = f"kept{len(self.marks)}"
        self.marks.append((name, shape))
        return [Mark("as", name)], shape

    def use_mark(self, shape, env):
        """add or concat with tensors named before; `from` one of them in between is `side`'s business."""
        equal = [name for name, s in self.marks if s == shape]
        beside = [(name, s) for name, s in self.marks if s[1:] == shape[1:]]
        if equal and self.chance(0.6):
            return self.op("add", {"tensors": self.random.sample(equal, self.random.randint(1, len(equal)))}, shape)
        if beside:
            chosen = self.random.sample(beside, self.random.randint(1, min(3, len(beside))))
            return self.op("concat", {"tensors": [name for name, _ in chosen]},
                           (shape[0] + sum(s[0] for _, s in chosen), *shape[1:]))
        return self.mark(shape, env)

    # ---- the network -----------------------------------------------------------------------------------------------

    def ending(self, shape, env, classes):
        """From a picture or features to logits."""
        logits = Number(classes, "classes")
        if len(shape) == 3:
            kind = self.weighted({"flatten": 5, "global": 3, "conv_global": 1, "global_conv": 1, "conv_all": 1})
            if kind == "conv_global":
                args = {"channels": logits, "kernel": 1}
                a, _ = self.op("conv", args, (classes, *shape[1:]), 2, classes * shape[0])
                b, _ = self.op("global_avgpool", {}, (classes, 1, 1))
                return a + b
            if kind == "global_conv":
                a, out = self.op("global_avgpool", {}, (shape[0], 1, 1))
                return a + self.op("conv", {"channels": logits, "kernel": 1}, (classes, 1, 1), 2, classes * shape[0])[0]
            if kind == "conv_all":
                args = {"channels": logits, "kernel": (Number(shape[1], "in.height"), Number(shape[2], "in.width"))}
                return self.conv(shape, args)[0] + (self.op("flatten", {}, (classes,))[0] if self.chance(0.5) else [])
            start = []
            if kind == "global" or shape[0] * shape[1] * shape[2] > 600:
                start, shape = self.op("global_avgpool", {}, (shape[0], 1, 1))
            end, shape = self.op("flatten", {}, (shape[0] * shape[1] * shape[2],))
            more, shape = self.free(shape, env, self.random.randint(0, 2))
            return start + end + more + self.op("linear", {"features": logits}, (classes,), 2, classes * shape[0])[0]
        args = {"features": logits, **({"bias": False} if self.chance(0.2) else {})}
        return self.op("linear", args, (classes,), 2, classes * shape[0])[0]

    def network(self, name):
        classes, width, batch = self.random.randint(2, 11), self.random.randint(2, 9), self.random.randint(2, 4)
        env = {"classes": classes, "width": width}
        if self.chance(0.1):
            shape = (self.random.randint(2, 40),)
        else:
            shape = (self.weighted({self.random.randint(1, 5): 9, self.random.randint(6, 65): 1}),
                     self.random.randint(4, 13), self.random.randint(4, 13))
        body, out = self.free(shape, env, self.random.randint(3, 9))
        body = body + self.ending(out, env, classes)
        return Network(name, f"classes = {classes}, width = {width}", batch, shape, classes, self.blocks, body)


def generate(seed):
    """The network of a seed: the first of its attempts that stays within the limits."""
    attempt = 0
    while True:
        try:
            return Generator(f"{seed}.{attempt}").network(f"random{seed}")
        except TooLarge:
            attempt += 1


def file_of(seed):
    return net_file(generate(seed), f"A random network: tests/random/generate.py {seed}")


if __name__ == "__main__":
    for number in sys.argv[1:]:
        print(file_of(int(number)), end="")

"""The other side of the comparison: a process that does steps when it is told to.

    python peers.py prepare NET BATCH FOLDER                    weights, pictures, labels, scores and model.onnx
    python peers.py SIDE NET BATCH train|predict FOLDER THREADS

SIDE is nchw, nhwc, nchw+compile or nhwc+compile (PyTorch's memory formats, eager and through torch.compile),
onnxruntime or openvino. The process answers each line "SECONDS" with "MILLISECONDS COUNT", as stepper.c does: the
fastest step of as many as take that time. All compute in float. A training step is forward, cross-entropy, backward
and SGD with momentum 0.9 and weight decay 1e-4.
"""
import os
import sys
import time

import numpy as np

from zoo import NETWORKS


def on_disk(folder, name, kind=np.float32):
    return np.fromfile(os.path.join(folder, name + ".bin"), kind)


def pictures(network, batch, folder):
    return on_disk(folder, "pictures").reshape(batch, *network.picture)


def agrees(scores, folder, side):
    """Every side must predict the same, or the times compare nothing."""
    expected = on_disk(folder, "logits")
    error = np.abs(np.asarray(scores).ravel() - expected).max() / np.abs(expected).max()
    assert error < 1e-3, f"{side} predicts other scores than PyTorch: {error:.1e}"


# ---- PyTorch ---------------------------------------------------------------------------------------------------------

def torch_model(network, folder):
    import torch
    import networks
    torch.manual_seed(0)
    model = getattr(networks, network.name)(network.picture[0], network.classes)
    if folder:
        values, state, at = on_disk(folder, "weights"), model.state_dict(), 0
        for tensor in state.values():
            count = tensor.numel()
            tensor.copy_(torch.from_numpy(values[at:at + count].copy()).reshape(tensor.shape))
            at += count
    return model


def prepare(network, batch, folder):
    """What all sides start from. Running statistics are random too, so that prediction depends on them."""
    import torch
    os.makedirs(folder, exist_ok=True)
    model = torch_model(network, None)
    for name, buffer in model.named_buffers():
        if buffer.is_floating_point():
            buffer.uniform_(*((0.5, 1.5) if name.endswith("var") else (-0.1, 0.1)))
    x = torch.randn(batch, *network.picture)
    np.concatenate([t.detach().float().reshape(-1).numpy() for t in model.state_dict().values()]).tofile(
        os.path.join(folder, "weights.bin"))
    x.numpy().tofile(os.path.join(folder, "pictures.bin"))
    torch.randint(0, network.classes, (batch,), dtype=torch.int32).numpy().tofile(os.path.join(folder, "labels.bin"))
    with torch.no_grad():
        model.eval()(x).numpy().tofile(os.path.join(folder, "logits.bin"))
    torch.onnx.export(model, (x,), os.path.join(folder, "model.onnx"), input_names=["x"], dynamo=False)


def torch_step(network, batch, side, train, folder, threads):
    import torch
    from torch.nn import functional as F
    torch.set_num_threads(threads)
    layout = torch.channels_last if side.startswith("nhwc") else torch.contiguous_format
    model = torch_model(network, folder).to(memory_format=layout).train(train)
    x = torch.from_numpy(pictures(network, batch, folder)).contiguous(memory_format=layout)
    labels = torch.from_numpy(on_disk(folder, "labels", np.int32).astype(np.int64))
    run = torch.compile(model) if side.endswith("compile") else model
    rule = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)

    def train_step():
        rule.zero_grad()
        F.cross_entropy(run(x), labels).backward()
        rule.step()

    def predict():
        with torch.no_grad():
            return run(x)
    if not train:
        agrees(predict().numpy(), folder, side)
    return train_step if train else predict


# ---- inference engines -----------------------------------------------------------------------------------------------

def onnxruntime_step(network, batch, folder, threads):
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(os.path.join(folder, "model.onnx"), options, ["CPUExecutionProvider"])
    given = {session.get_inputs()[0].name: pictures(network, batch, folder)}
    return lambda: session.run(None, given)[0]


def openvino_step(network, batch, folder, threads):
    import openvino
    settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.compile_model(os.path.join(folder, "model.onnx"), "CPU", settings)
    request, x = compiled.create_infer_request(), pictures(network, batch, folder)
    return lambda: request.infer([x], share_inputs=True, share_outputs=True)[0]


# ---- steps on demand -------------------------------------------------------------------------------------------------

def main(side, name, batch, rest):
    network, batch = NETWORKS[name], int(batch)
    if side == "prepare":
        prepare(network, batch, *rest)
        return
    way, folder, threads = rest[0], rest[1], int(rest[2])
    if side in ("onnxruntime", "openvino"):
        make = onnxruntime_step if side == "onnxruntime" else openvino_step
        step = make(network, batch, folder, threads)
        agrees(step(), folder, side)
    else:
        step = torch_step(network, batch, side, way == "train", folder, threads)
    for _ in range(2):
        step()
    print("ready", flush=True)
    for line in sys.stdin:
        best, count, start = float("inf"), 0, time.perf_counter()
        while count == 0 or time.perf_counter() - start < float(line):
            begin = time.perf_counter()
            step()
            best, count = min(best, time.perf_counter() - begin), count + 1
        print(f"{1e3 * best:.6f} {count}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:4], sys.argv[4:])

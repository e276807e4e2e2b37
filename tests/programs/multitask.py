"""One encoder and a head for each task, losses weighted by what is learned of them, watched by hooks, stopped early."""

import copy
import math
import random
from collections import OrderedDict, defaultdict

import nn
import nn.functional as F
import tinygrad_seq as torch
from nn import optim

TASKS = {"parity": 2, "largest": 4, "sum": None}
LENGTH = 6


class MultiTask(nn.Module):
    def __init__(self, kind="gru", hidden=16):
        super().__init__()
        self.embed = nn.Embedding(4, 8)
        self.encoders = nn.ModuleDict(
            {
                "gru": nn.GRU(8, hidden, batch_first=True, bidirectional=True),
                "rnn": nn.RNN(8, hidden, batch_first=True, bidirectional=True),
            }
        )
        self.kind = kind
        self.heads = nn.ModuleDict()
        for task, classes in TASKS.items():
            self.heads[task] = nn.Sequential(
                OrderedDict(
                    [
                        ("hidden", nn.Linear(2 * hidden, hidden)),
                        ("act", nn.ReLU()),
                        ("out", nn.Linear(hidden, classes or 1)),
                    ]
                )
            )
        self.log_vars = nn.ParameterList([nn.Parameter(torch.zeros(1)) for _ in TASKS])
        self.query = nn.ParameterDict({"pool": nn.Parameter(torch.full((2 * hidden,), 0.1))})
        self.register_buffer("steps", torch.tensor(0))

    def forward(self, x):
        outputs, _ = self.encoders[self.kind](self.embed(x))
        scores = (outputs @ self.query["pool"]) / math.sqrt(outputs.size(-1))
        weights = F.softmax(input=scores, dim=-1, dtype=torch.float32)
        pooled = torch.bmm(weights.unsqueeze(1), outputs).squeeze(1)
        if self.training:
            self.steps += 1
        return {task: head(pooled) for task, head in self.heads.items()}


def make_data(n):
    x = [[random.randrange(4) for _ in range(LENGTH)] for _ in range(n)]
    y = {
        "parity": torch.tensor([sum(row) % 2 for row in x]),
        "largest": torch.tensor([max(row) for row in x]),
        "sum": torch.tensor([sum(row) / (3 * LENGTH) for row in x]),
    }
    return torch.tensor(x, dtype=torch.long), y


def total_loss(model, outputs, targets):
    losses = torch.stack(
        [
            F.mse_loss(outputs[task].squeeze(-1), targets[task].float())
            if classes is None
            else F.cross_entropy(outputs[task], targets[task])
            for task, classes in TASKS.items()
        ]
    )
    log_vars = torch.cat(list(model.log_vars))
    return torch.sum(torch.exp(-log_vars) * losses + 0.5 * log_vars), losses.detach()


class EarlyStopping:
    def __init__(self, patience=3, delta=1e-3):
        self.patience, self.delta = patience, delta
        self.best, self.bad, self.state = math.inf, 0, None

    def __call__(self, loss, model):
        if loss < self.best - self.delta:
            self.best, self.bad, self.state = loss, 0, copy.deepcopy(model.state_dict())
        else:
            self.bad += 1
        return self.bad >= self.patience


def build():
    model = MultiTask()
    for name, p in model.named_parameters():
        if "weight_hh" in name:
            nn.init.orthogonal_(p)
        elif name.endswith("bias"):
            nn.init.zeros_(p)
    return model


def run(model):
    random.seed(11)
    activity = defaultdict(list)

    def watch(name):
        def hook(module, args, output):
            activity[name].append((output > 0).float().mean().item())

        return hook

    handles = [
        module.register_forward_hook(watch(name))
        for name, module in model.named_modules()
        if isinstance(module, nn.ReLU)
    ]
    calls = []
    handles.append(model.embed.register_forward_pre_hook(lambda module, args: calls.append(tuple(args[0].shape))))
    train, valid = make_data(48), make_data(24)
    decay, no_decay = [], []
    for name, p in model.named_parameters():
        (no_decay if name.endswith("bias") or "log_vars" in name else decay).append(p)
    optimizer = optim.AdamW(
        [{"params": decay, "weight_decay": 0.01}, {"params": no_decay, "weight_decay": 0.0}], lr=0.02
    )
    scheduler = optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=1)
    stopper, history = EarlyStopping(), []
    for epoch in range(12):
        for phase, (x, y) in (("train", train), ("valid", valid)):
            model.train(phase == "train")
            running = 0.0
            with torch.set_grad_enabled(phase == "train"):
                for xb, *yb in zip(x.split(12), *(y[task].split(12) for task in TASKS)):
                    loss, parts = total_loss(model, model(xb), dict(zip(TASKS, yb)))
                    if phase == "train":
                        optimizer.zero_grad(set_to_none=True)
                        loss.backward()
                        nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0)
                        optimizer.step()
                    running += loss.item() * xb.size(0)
            running /= len(x)
            history.append(running)
        scheduler.step(running)
        if stopper(running, model):
            break
    for handle in handles:
        handle.remove()
    model.load_state_dict(stopper.state)
    seen = len(calls)
    with torch.inference_mode():
        outputs = model(valid[0])
    assert len(calls) == seen and calls[0] == (12, LENGTH)
    accuracy = (outputs["largest"].argmax(dim=-1) == valid[1]["largest"]).float().mean().item()
    counts = torch.bincount(outputs["largest"].argmax(-1), minlength=4)
    assert counts.sum() == 24
    means = [sum(v) / len(v) for v in activity.values()]
    return [*history, accuracy, int(model.steps), optimizer.param_groups[0]["lr"], *means]

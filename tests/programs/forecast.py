"""Forecasts of a noisy series from sliding windows, with an optimizer and a moving average of the weights by hand."""

import copy
import math
import random

import nn
import nn.functional as F
import tinygrad_seq as torch

WINDOW, HORIZON = 16, 4


def make_series(n):
    t = torch.arange(n).float()
    noise = torch.tensor([random.gauss(0.0, 0.05) for _ in range(n)])
    return torch.sin(2 * torch.pi * t / 12) + 0.5 * torch.cos(t * 0.9).square() + noise


class Forecaster(nn.Module):
    def __init__(self, hidden=12):
        super().__init__()
        self.register_parameter("decay", nn.Parameter(torch.tensor([1.0])))
        self.rnn = nn.GRU(1, hidden, num_layers=2, batch_first=True)
        self.mean = nn.Linear(hidden, HORIZON)
        self.log_std = nn.Linear(hidden, HORIZON)
        self.apply(self._init)

    @staticmethod
    def _init(module):
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.constant_(module.bias, 0.0)

    def forward(self, x):
        out, _ = self.rnn(x.unsqueeze(-1))
        ages = torch.arange(x.size(1)).flip(0).to(x)
        weights = F.softmax(-F.softplus(self.decay) * ages, dim=0)
        pooled = torch.einsum("bth,t->bh", out, weights)
        return self.mean(pooled), self.log_std(pooled).clamp(-4.0, 2.0)


def gaussian_nll(mean, log_std, target):
    z = (target - mean) * torch.exp(-log_std)
    return (0.5 * z.pow(2) + log_std + 0.5 * math.log(2 * math.pi)).mean()


class Adam:
    def __init__(self, params, lr, betas=(0.9, 0.999), eps=1e-8):
        self.params, self.lr, self.betas, self.eps, self.t = list(params), lr, betas, eps, 0
        self.m = [torch.zeros_like(p) for p in self.params]
        self.v = [torch.zeros_like(p) for p in self.params]

    @torch.no_grad()
    def step(self):
        self.t += 1
        b1, b2 = self.betas
        for p, m, v in zip(self.params, self.m, self.v):
            if p.grad is None:
                continue
            m.lerp_(p.grad, 1 - b1)
            v.mul_(b2).addcmul_(p.grad, p.grad, value=1 - b2)
            denom = (v / (1 - b2**self.t)).sqrt().add_(self.eps)
            p.addcdiv_(m, denom, value=-self.lr / (1 - b1**self.t))

    def zero_grad(self):
        for p in self.params:
            if p.grad is not None:
                p.grad.detach_()
                p.grad.zero_()


class EMA:
    def __init__(self, model, beta=0.9):
        self.model, self.beta = copy.deepcopy(model).eval().requires_grad_(False), beta

    @torch.no_grad()
    def update(self, model):
        for ours, theirs in zip(self.model.parameters(), model.parameters()):
            ours.lerp_(theirs, 1 - self.beta)


def build():
    return Forecaster()


def run(model):
    random.seed(2)
    series = make_series(160)
    mean, std = series.mean(), series.std()
    series = ((series - mean) / std).clip(-3, 3)
    windows = series.unfold(0, WINDOW + HORIZON, 2)
    train, valid = windows[:56], windows[-12:]
    optimizer, ema = Adam(model.parameters(), lr=0.01), EMA(model)
    losses = []
    for epoch in range(6):
        optimizer.lr = 0.01 * 0.5 * (1 + math.cos(math.pi * epoch / 6))
        order = torch.tensor(random.sample(range(len(train)), len(train)))
        for rows in order.split(14):
            x, y = train[rows].split([WINDOW, HORIZON], dim=1)
            model.zero_grad(set_to_none=False)
            loss = gaussian_nll(*model(x), y)
            assert loss.grad_fn is not None and not loss.is_leaf
            loss.backward()
            optimizer.step()
            ema.update(model)
            losses.append(loss.item())
    with torch.inference_mode():
        x, y = valid[:, :WINDOW], valid[:, WINDOW:]
        forecast, log_std = ema.model(x)
        error = (forecast - y).abs()
        per_step = error.mean(dim=0)
        middle = error.median(dim=0).values
        inside = torch.count_nonzero(error < 2 * log_std.exp()) / error.numel()
        growth = torch.cumprod(1 + 0.1 * forecast[0].nan_to_num(0.0), dim=0)
        worst = torch.vstack([error.amax(0), error.amin(0)]).ravel()
    return [*losses, *per_step.tolist(), *middle.tolist(), inside.item(), *growth.tolist(), *worst.tolist()]

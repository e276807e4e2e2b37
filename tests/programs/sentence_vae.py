"""A variational autoencoder of sentences, with KL annealing and the reparameterization trick."""

import math
import random

import tinygrad_seq as torch
import tinygrad_seq.nn as nn
import tinygrad_seq.nn.functional as F

VOCAB, LATENT = 6, 3


class SentenceVAE(nn.Module):
    def __init__(self, embedding_size, hidden_size, latent_size):
        super().__init__()
        self.hidden_size, self.latent_size = hidden_size, latent_size
        self.embedding = nn.Embedding(VOCAB, embedding_size)
        self.encoder_rnn = nn.GRU(embedding_size, hidden_size, batch_first=True)
        self.decoder_rnn = nn.GRU(embedding_size, hidden_size, batch_first=True)
        self.hidden2mean = nn.Linear(hidden_size, latent_size)
        self.hidden2logv = nn.Linear(hidden_size, latent_size)
        self.latent2hidden = nn.Linear(latent_size, hidden_size)
        self.outputs2vocab = nn.Linear(hidden_size, VOCAB)

    def forward(self, input_sequence, noise):
        batch_size = input_sequence.size(0)
        input_embedding = self.embedding(input_sequence)
        _, hidden = self.encoder_rnn(input_embedding)
        hidden = hidden.squeeze(0)
        mean, logv = self.hidden2mean(hidden), self.hidden2logv(hidden)
        std = torch.exp(0.5 * logv)
        z = noise.mul(std).add_(mean)
        outputs, _ = self.decoder_rnn(input_embedding[:, :-1], self.latent2hidden(z).unsqueeze(0))
        logits = self.outputs2vocab(outputs.contiguous().view(-1, self.hidden_size))
        return F.log_softmax(logits, dim=-1).view(batch_size, -1, VOCAB), mean, logv


def kl_anneal_function(step, k, x0):
    return float(1 / (1 + math.exp(-k * (step - x0))))


def build():
    return SentenceVAE(5, 8, LATENT)


def run(model):
    random.seed(6)
    data = torch.tensor([[(start + t * step) % VOCAB for t in range(6)] for start in range(4) for step in (1, 2)])
    NLL = nn.NLLLoss(reduction="sum")
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    losses = []
    for step in range(10):
        noise = torch.tensor([[random.gauss(0, 1) for _ in range(LATENT)] for _ in range(len(data))])
        logp, mean, logv = model(data, noise)
        nll_loss = NLL(logp.reshape(-1, VOCAB), data[:, 1:].reshape(-1))
        kl_loss = -0.5 * torch.sum(1 + logv - mean.pow(2) - logv.exp())
        loss = (nll_loss + kl_anneal_function(step, 0.5, 5) * kl_loss) / data.size(0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses

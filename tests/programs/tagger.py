"""A bidirectional LSTM tagger over packed sequences, whose padding is ignored by the loss."""

import nn
import nn.functional as F
import tinygrad_seq as torch
from nn import optim
from nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence

sentences = [
    ("the dog ate the apple", "D N V D N"),
    ("everybody read that book", "N V D N"),
    ("birds sing", "N V"),
    ("a cat saw the dog", "D N V D N"),
]
vocab = {"<pad>": 0}
tags = {"D": 0, "N": 1, "V": 2}
for sentence, _ in sentences:
    for word in sentence.split():
        vocab.setdefault(word, len(vocab))


class BiLSTMTagger(nn.Module):
    def __init__(self, vocab_size, embedding_dim, hidden_dim, tagset_size):
        super().__init__()
        self.word_embeddings = nn.Embedding(vocab_size, embedding_dim, padding_idx=0)
        self.lstm = nn.LSTM(embedding_dim, hidden_dim // 2, num_layers=2, bidirectional=True, batch_first=True)
        self.hidden2tag = nn.Linear(hidden_dim, tagset_size)

    def forward(self, sentence, lengths):
        embeds = self.word_embeddings(sentence)
        packed = pack_padded_sequence(embeds, lengths, batch_first=True, enforce_sorted=False)
        packed_out, (h_n, _) = self.lstm(packed)
        out, out_lengths = pad_packed_sequence(packed_out, batch_first=True)
        assert out_lengths.tolist() == list(lengths)
        final = torch.cat((h_n[-2], h_n[-1]), dim=1)
        return F.log_softmax(self.hidden2tag(out), dim=2), final


def build():
    return BiLSTMTagger(len(vocab), 8, 12, len(tags))


def run(model):
    xs = [torch.tensor([vocab[w] for w in s.split()]) for s, _ in sentences]
    ys = [torch.tensor([tags[t] for t in t.split()]) for _, t in sentences]
    lengths = [len(x) for x in xs]
    x = pad_sequence(xs, batch_first=True)
    y = pad_sequence(ys, batch_first=True, padding_value=-100)
    loss_function = nn.NLLLoss(ignore_index=-100)
    optimizer = optim.SGD(model.parameters(), lr=0.5, momentum=0.9)
    losses = []
    for _ in range(20):
        model.zero_grad()
        tag_scores, final = model(x, lengths)
        loss = loss_function(tag_scores.permute(0, 2, 1), y) + 0.001 * final.pow(2).sum()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    with torch.no_grad():
        tag_scores, _ = model(x, lengths)
        _, predicted = torch.max(tag_scores, 2)
        mask = y != -100
        losses.append((predicted[mask] == y[mask]).float().mean().item())
    assert model.word_embeddings.weight[0].abs().sum().item() == 0.0
    return losses

"""Writing one character after another: an LSTM over lines of all lengths, so that each step has a graph of its own."""

import argparse
from pathlib import Path

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_sequence
from tqdm import tqdm

END = "\n"  # every line ends with it, and a new one starts after it


def read_lines(file, longest):
    """Lines of the file, or of Python's own documentation topics; longer ones are cut."""
    if file is None:
        from pydoc_data.topics import topics

        text = END.join(topics[name] for name in sorted(topics))
    else:
        text = file.read_text(encoding="utf-8", errors="replace")
    return [line[:longest] + END for line in text.splitlines() if line.strip()]


class CharacterModel(nn.Module):
    """Characters -> scores for the character that follows each."""

    def __init__(self, characters, embedding=32, hidden=128):
        super().__init__()
        self.embedding = nn.Embedding(characters, embedding)
        self.lstm = nn.LSTM(embedding, hidden)
        self.scores = nn.Linear(hidden, characters)

    def forward(self, x, lengths):
        packed = pack_padded_sequence(self.embedding(x), lengths)  # x: (longest, batch), longest line first
        states, _ = self.lstm(packed)
        return self.scores(states.data)  # (characters in the batch, characters in the alphabet)

    def step(self, character, state):
        """Scores after one character, and the state to go on from."""
        output, state = self.lstm(self.embedding(character).unsqueeze(0), state)
        return self.scores(output[-1]), state


def make_batch(lines, places):
    """Inputs, lengths and targets: a line and the same line one character on, longest line first."""
    rows = sorted((torch.tensor([places[c] for c in END + line]) for line in lines), key=len, reverse=True)
    lengths = torch.tensor([len(row) - 1 for row in rows])
    x = pad_sequence([row[:-1] for row in rows])  # (longest, batch)
    targets = pad_sequence([row[1:] for row in rows])
    return x, lengths, pack_padded_sequence(targets, lengths).data


def sample(model, alphabet, places, length, temperature, device):
    """Text that the model makes up."""
    text, state = END, None
    with torch.no_grad():
        while len(text) <= length:
            scores, state = model.step(torch.tensor([places[text[-1]]], device=device), state)
            chances = torch.softmax(scores[0] / temperature, dim=0)
            text += alphabet[torch.multinomial(chances, 1).item()]
    return text[1:]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="a text file; without it, Python's documentation topics")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--steps", type=int, default=100, help="steps an epoch")
    parser.add_argument("--batch", type=int, default=16, help="lines a step")
    parser.add_argument("--longest", type=int, default=80, help="characters of a line that are read")
    parser.add_argument("--sample", type=int, default=300, help="characters to write at the end")
    parser.add_argument("--out", type=Path, help="file for the sample, which is printed in any case")
    parser.add_argument(
        "--device", default="cuda" if torch.cuda.is_available() else "cpu", help="where it runs (default: %(default)s)"
    )
    options = parser.parse_args()

    lines = read_lines(options.data, options.longest)
    alphabet = sorted(set("".join(lines)))
    places = {character: place for place, character in enumerate(alphabet)}
    print(f"{len(lines)} lines, {len(alphabet)} characters")

    torch.manual_seed(options.seed)
    model = CharacterModel(len(alphabet)).to(options.device)
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for epoch in range(1, options.epochs + 1):
        total = 0.0
        progress = tqdm(range(1, options.steps + 1), desc=f"epoch {epoch}", disable=None, leave=False)
        for step in progress:
            chosen = torch.randint(len(lines), (options.batch,)).tolist()
            x, lengths, targets = make_batch([lines[i] for i in chosen], places)
            x, targets = x.to(options.device), targets.to(options.device)  # lengths stay on the CPU
            loss = criterion(model(x, lengths), targets)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            total += loss.item()
            if epoch == 1 and (step <= 5 or step % 25 == 0):
                tqdm.write(f"epoch 1 step {step} loss {loss.item():.6f} (lines of {lengths[-1]} to {lengths[0]})")
            progress.set_postfix(loss=f"{loss.item():.3f}")
        print(f"epoch {epoch} loss {total / options.steps:.6f}")

    text = sample(model, alphabet, places, options.sample, temperature=0.7, device=options.device)
    print("--- a sample")
    print(text)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

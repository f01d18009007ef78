"""Sentences as token numbers, by the vocabulary that belongs to the trained weights: BERT's lower-case word pieces."""

import re

import numpy as np

SENTENCES = [
    "How do I serve a model on a machine with an unusual processor?",
    "The carpenter cut both parts to the same standard, so the joint needed no glue.",
    "Resident memory stays flat because every instance maps the same pages.",
    "Rain is expected in the north during the afternoon.",
    "What is the capital of Portugal, and how far is it from the sea?",
    "The committee will meet again on the ninth of October to vote on the budget.",
]


class Vocabulary:
    def __init__(self, path):
        self.number = {piece: index for index, piece in enumerate(path.read_text(encoding="utf-8").splitlines())}

    def pieces(self, word):
        """The longest pieces that the vocabulary knows, from left to right; one unknown mark if there is no way."""
        found, start = [], 0
        while start < len(word):
            for end in range(len(word), start, -1):
                piece = ("##" if start else "") + word[start:end]
                if piece in self.number:
                    found.append(self.number[piece])
                    start = end
                    break
            else:
                return [self.number["[UNK]"]]
        return found

    def tokens(self, text):
        words = re.findall(r"\w+|[^\w\s]", text.lower())
        inner = [piece for word in words for piece in self.pieces(word)]
        return [self.number["[CLS]"], *inner, self.number["[SEP]"]]


def batch_of(vocabulary, batch, length, text=None):
    """Sentences cut or padded to one length, with the mask that says which tokens count."""
    ids, mask = np.zeros((batch, length), np.int64), np.zeros((batch, length), np.int64)
    for row in range(batch):
        tokens = vocabulary.tokens(text or SENTENCES[row % len(SENTENCES)])[:length]
        tokens[-1] = vocabulary.number["[SEP]"]
        ids[row, : len(tokens)] = tokens
        mask[row, : len(tokens)] = 1
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}

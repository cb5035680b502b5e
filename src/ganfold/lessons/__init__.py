"""Experiments that answer a learner's questions: one for each page of docs/learn. This table names them in order.

Nothing is imported here; `ganfold.lessons.catalogue` has the experiments themselves.
"""

from __future__ import annotations

LESSONS = {
    "the-game": "What do D and G play for, where does 0.5 come from, and why does G's loss have two forms?",
    "the-loop": "What does each line of the training loop do, and which mistakes does Python not report?",
    "up-and-down": "How do strides halve, how do transposed convolutions double, and why is there no pooling?",
    "why-convolutions": "Why do convolutions beat fully connected layers on images?",
    "first-weights": "How large should the first weights be, and does their distribution matter?",
    "norms-and-slopes": "What do BatchNorm, the slope of LeakyReLU and tanh do?",
    "the-optimizer": "What does Adam compute, and why is beta_1 0.5?",
    "what-goes-wrong": "How does each failure look in the numbers, and did WGAN end them?",
    "asking-for-things": "How does a label reach the image, and what does z do then?",
    "what-d-knows": "What has D learnt about images, and can its features find things?",
}

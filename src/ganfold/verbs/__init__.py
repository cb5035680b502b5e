"""One file for each verb, named like it. This table names them in the order of use, without importing them."""

from __future__ import annotations

VERBS = {
    "check": "Say what images are there, which will be used, and what is wrong with which file.",
    "plan": "Choose what to train on these images and for how long, say why, and what it will take.",
    "train": "Train a GAN, or go on with a run that was stopped.",
    "sample": "Write images that a run's generator makes: files in a folder, or one grid.",
    "evaluate": "Say how near generated images are to real ones, with each metric beside its floor.",
    "copies": "Look for near-copies of training images, and write a page of the nearest pairs.",
    "probe": "Say what a run's discriminator has learnt, by a linear classifier on its features.",
    "report": "Write one HTML file that shows a run.",
    "upscale": "Make a user's images larger with a super-resolution run.",
    "inpaint": "Fill what a mask hides in a user's images.",
    "translate": "Turn a user's images into images of another kind.",
    "augment": "Add generated images to the small classes of a set, if a trial says that they help.",
    "study": "Measure whether generated images help a classifier on these images.",
    "gans": "List the GANs, each with its paper and when to use it.",
    "env": "Say which versions and which machine this is, for a bug report.",
}

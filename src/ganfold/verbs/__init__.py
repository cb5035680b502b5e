"""One file for each verb, named like it. This table names them in the order of use, without importing them."""

from __future__ import annotations

VERBS = {
    "check": "Say what images are there, which will be used, and what is wrong with which file.",
    "plan": "Choose what to train on these images and for how long, say why, and what it will take.",
    "train": "Train a GAN, or go on with a run that was stopped.",
    "sample": "Write images that a run's generator makes: files in a folder, one file of many images, or one grid.",
    "explore": "Look at the latent space of a run: a sheet with named rows, a film, or the latents.",
    "evaluate": "Compare generated images with real ones; print each metric beside its floor: the score of real ones.",
    "copies": "Look for near-copies of training images among generated ones, and show the pairs most alike.",
    "probe": "Classify images by a linear SVM on the features of a run's discriminator, from few labels.",
    "report": "Write one HTML file that shows a run: verdict, images, curves, metrics, copies, data and settings.",
    "upscale": "Make an image, or each image in a folder, as many times larger as the run has learnt.",
    "inpaint": "Paint what a mask hides in an image, or in each image of a folder.",
    "translate": "Turn an image, or each image in a folder, into an image of another kind.",
    "export": "Write a run's generator as files that need no ganfold.",
    "push": "Put a run on the Hugging Face hub: the folder of `ganfold export --to hub`.",
    "augment": "Add generated images to the small classes of a set, if a trial says that they help.",
    "study": "Measure whether generated images help a classifier on these images.",
    "cache": "List the cache of prepared images, and remove what was not used for longest.",
    "learn": "Run an experiment that answers a question about GANs, and say what it shows.",
    "gans": "List the GANs, each with its paper and when to use it.",
    "env": "Say which versions and which machine this is, for a bug report.",
}

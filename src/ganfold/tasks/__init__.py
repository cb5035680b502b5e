"""What a generator is for beside drawing from noise: how it is applied, and how it is measured."""

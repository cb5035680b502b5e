"""What every GAN must do. A new GAN joins by its entry in `GANS` and needs no test code of its own."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from ganfold import gans
from ganfold.errors import GanfoldError
from ganfold.gans import GANS, find
from ganfold.gans.contract import NOTHING, Batch, Condition, Phase, Shape, Terms
from ganfold.gans.dcgan import DCGAN, Config
from ganfold.training.conformance import CASES, LEFT_OUT, run_case
from tiny import rich_images, small_gan, small_trainer


@pytest.mark.parametrize("name", GANS)
@pytest.mark.parametrize("case", CASES)
def test_it_keeps_the_contract(case: str, name: str) -> None:
    found = run_case(name, case)
    assert found.ok, found.sentence


@pytest.mark.parametrize("name", GANS)
def test_the_logged_loss_is_the_sum_of_its_terms(name: str, squares: Path) -> None:
    subject = small_trainer(name, rich_images(squares))
    subject.step()
    means = subject.meter.means()
    for phase in (phase for phase in subject.gan.phases if phase.since <= 0 < phase.until):
        total = sum(value for key, value in means.items() if key.startswith(f"{phase.optimizer}/"))
        assert means[f"Loss_{phase.optimizer}"] == pytest.approx(total, rel=1e-5)


@pytest.mark.parametrize("name", GANS)
def test_the_file_is_short_and_imports_no_more_than_it_needs(name: str) -> None:
    text = Path(inspect.getfile(find(name))).read_text()
    code = re.sub(r'""".*?"""|#.*', "", text, flags=re.S)
    assert not [word for word in LEFT_OUT if word in code]
    assert len(text.splitlines()) <= 150
    imported = set(re.findall(r"^(?:from|import) (\S+)", code, flags=re.M))
    allowed = re.compile(
        r"__future__|collections|dataclasses|itertools|math|types|typing|torch"
        r"|ganfold\.(errors|gans|interface\.options|networks)"
    )
    assert all(allowed.match(module) for module in imported), imported


# GANs with one fault each.


class OutOfRange(DCGAN):
    def sample(self, z: Tensor, condition: Condition = NOTHING) -> Tensor:
        return self.G(z) + 1.5


class BeginsSaturated(DCGAN):
    def sample(self, z: Tensor, condition: Condition = NOTHING) -> Tensor:
        return (40 * self.G(z)).tanh()


class WrongSize(DCGAN):
    def sample(self, z: Tensor, condition: Condition = NOTHING) -> Tensor:
        return self.G(z)[:, :, ::2]


class MovesNothing(DCGAN):
    def generator(self, batch: Batch) -> Terms:
        return {"fake": batch["image"].mean()}


class OwnsTooMuch(DCGAN):
    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__(config, shape)
        self.spare = nn.Linear(2, 2)
        self.optimizers["G"].add_param_group({"params": list(self.spare.parameters())})


class OwnsTooLittle(DCGAN):
    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__(config, shape)
        self.spare = nn.Linear(2, 2)


class WritesToWeights(DCGAN):
    def discriminator(self, batch: Batch) -> Terms:
        next(self.G.parameters()).data.mul_(0.9)
        return super().discriminator(batch)


class WithoutTerms(DCGAN):
    def generator(self, batch: Batch) -> Terms:
        return {}


class Unseeded(DCGAN):
    def fake(self, batch: Batch) -> Terms:
        return {"fake": self.G(torch.rand(len(batch.rows), *self.latent))}


class Forgetful(DCGAN):
    """Its loss depends on a number that no checkpoint has."""

    losses = 0

    def discriminator(self, batch: Batch) -> Terms:
        self.losses += 1
        return {name: term * (1 + self.losses) for name, term in super().discriminator(batch).items()}


class ForgetfulBuffer(DCGAN):
    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__(config, shape)
        self.register_buffer("mean", torch.zeros(()), persistent=False)

    def discriminator(self, batch: Batch) -> Terms:
        self.mean += batch["image"].mean()
        return {name: term * (1 + self.mean) for name, term in super().discriminator(batch).items()}


class AveragesTheWrongNetwork(DCGAN):
    averaged = ("D",)


class ComparesImages(DCGAN):
    """Its loss is no mean over images."""

    def generator(self, batch: Batch) -> Terms:
        return {"fake": self.judge(batch, batch["fake"]).std()}


class LeavesAField(DCGAN):
    """A phase reads from the batch what another phase left there; a later round has a fresh batch."""

    def discriminator(self, batch: Batch) -> Terms:
        batch["kept"] = batch["image"] / 2
        return super().discriminator(batch)

    def generator(self, batch: Batch) -> Terms:
        return {"fake": self.judge(batch, batch["fake"]).mean() + batch["kept"].mean()}


class Detaches(DCGAN):
    def discriminator(self, batch: Batch) -> Terms:
        batch["fake"] = batch["fake"].detach()
        return super().discriminator(batch)


@dataclass(frozen=True)
class BareConfig(Config):
    strength: float = 1.0


class WithoutComment(DCGAN):
    config_class = BareConfig


class Enlarges(DCGAN):
    @staticmethod
    def resolution(native: int) -> int:
        return 16 if native <= 16 else 128


class CannotBuildItsDefault(DCGAN):
    @staticmethod
    def resolution(native: int) -> int:
        return min(native, 64)


class ConditionedInSecret(DCGAN):
    def condition(self, batch: Batch) -> Terms:
        return {"input": batch["image"]}


class WithLabelsInSecret(DCGAN):
    conditional = True


class JudgesWithMore(DCGAN):
    def judge(self, batch: Batch, images: Tensor) -> Tensor:
        return self.D(images) + batch["image"].mean()


class NamesAGenerator(DCGAN):
    image_network = "G"


FAULTS = [
    (OutOfRange, "images have the requested shape and range", r"reaches .*, and images are in \[-1, 1\]"),
    (BeginsSaturated, "first samples are not saturated", r"\d\d% of the pixels of the first samples lie beyond 0.99"),
    (WrongSize, "images have the requested shape and range", r"gave \(5, 1, 8, 16\) for \(5, 1, 16, 16\)"),
    (MovesNothing, "a phase moves exactly what its optimizer owns", "does not require grad"),
    (OwnsTooMuch, "a phase moves exactly what its optimizer owns", "`generator` does not move spare.bias and 1 more"),
    (WritesToWeights, "a phase moves exactly what its optimizer owns", "`discriminator` moves G.0.weight, which"),
    (OwnsTooLittle, "every weight is owned and every phase has terms", "no phase trains spare.bias and 1 more"),
    (WithoutTerms, "every weight is owned and every phase has terms", "returned no terms"),
    (Unseeded, "the same seed gives the same bits", "draw numbers with `batch.normal` and `batch.uniform` only"),
    (Unseeded, "the source leaves gradients and devices to the trainer", "says `torch.rand`"),
    (Forgetful, "a resumed training gives the same bits", "stopped after step 1 and resumed differs in"),
    (ForgetfulBuffer, "a resumed training gives the same bits", "keep all that lasts in buffers"),
    (AveragesTheWrongNetwork, "the averaged networks follow and make the samples", "trained networks besides D"),
    (ComparesImages, "parts give the gradients of the whole", "2 parts gives other gradients for G .* mixes_images"),
    (ComparesImages, "two ranks give the gradients of one", "two ranks gives other gradients for G .* mixes_images"),
    (LeavesAField, "later rounds have fresh early fields", r"KeyError: 'kept' \(test_contract.py, line"),
    (Detaches, "the source leaves gradients and devices to the trainer", "says `detach`"),
    (WithoutComment, "every option has a comment", "strength has no comment on its line"),
    (Enlarges, "the default resolution can be built", r"`resolution\(28\)` is 128, which enlarges the images"),
    (CannotBuildItsDefault, "the default resolution can be built", "pixels a side, not 8"),
    (ConditionedInSecret, "what it says of itself is true", "gives input, but conditioned_on_images is False"),
    (WithLabelsInSecret, "what it says of itself is true", "it learns by class: set can_take_labels"),
    (JudgesWithMore, "what it says of itself is true", r"KeyError: 'image' \(test_contract.py, line"),
    (NamesAGenerator, "what it says of itself is true", "image_network is 'G': name the part of D that takes images"),
]


@pytest.mark.parametrize(("gan_class", "case", "sentence"), FAULTS, ids=lambda value: getattr(value, "__name__", None))
def test_a_fault_fails_its_case(gan_class: type[DCGAN], case: str, sentence: str) -> None:
    found = run_case(gan_class, case)
    assert found.ok is False
    assert re.search(sentence, found.sentence), found.sentence


def test_a_loss_may_compare_images_if_it_says_so() -> None:
    class Open(ComparesImages):
        mixes_images = True

    for case in ("parts give the gradients of the whole", "two ranks give the gradients of one"):
        assert run_case(Open, case).ok


# The report.


class Rounds(DCGAN):
    """D moves twice in a step, on fakes that `early` makes."""

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__(config, shape)
        self.phases = [Phase(self.discriminator, "D", rounds=2), self.phases[1]]


def test_check_prints_a_line_for_each_case() -> None:
    found = gans.check(Rounds, width=8)
    assert found.passed, str(found)
    first, *lines = found.lines()
    assert first == "test_contract.py:Rounds keeps the contract"
    assert "ok    the same seed gives the same bits" in lines
    assert len(lines) == len(found.cases) == len(CASES)
    content = json.loads(found.to_json())
    assert content["cases"][0] == {"name": found.cases[0].name, "ok": True, "sentence": ""}


def test_check_goes_on_after_a_failure_and_says_what_to_do() -> None:
    found = gans.check(WithoutComment)
    assert not found.passed
    assert [case.name for case in found.cases if case.ok is False] == ["every option has a comment"]
    assert found.lines()[0] == f"test_contract.py:WithoutComment fails 1 of {len(CASES)} cases"
    (line,) = (line for line in found.lines() if line.startswith("FAIL"))
    assert line.startswith("FAIL  every option has a comment: strength has no comment on its line of `Config`: write")


def test_what_cannot_be_tried_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    found = run_case("dcgan", "two ranks give the gradients of one", batch=5)
    assert (found.ok, found.line()[:5]) == (None, "skip ")

    def unreadable(_: object) -> str:
        raise OSError("typed into an interpreter")

    monkeypatch.setattr(inspect, "getsource", unreadable)
    assert run_case("dcgan", "every option has a comment").ok is None


def test_options_that_the_gan_lacks_are_refused() -> None:
    with pytest.raises(GanfoldError, match=r"DCGAN has no option 'widht'; did you mean 'width'\?"):
        gans.check("dcgan", widht=8)


@pytest.fixture
def seeded() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(5)
        yield


def test_check_leaves_the_generator_of_random_numbers_alone(seeded: None) -> None:
    before = torch.random.get_rng_state()
    run_case("dcgan", "the same seed gives the same bits")
    assert torch.equal(torch.random.get_rng_state(), before)


# DCGAN, from which many files are copied.


def test_dcgan_refuses_a_resolution_that_it_cannot_make() -> None:
    with pytest.raises(GanfoldError, match="16, 32, 64, 128 or 256 pixels a side, not 48"):
        small_gan("dcgan", Shape(3, 48))


def test_dcgan_is_the_papers() -> None:
    """Weights at 64 px as in the paper's fig. 1 at half its width, and as pytorch/examples counts them."""
    torch.manual_seed(0)
    gan = DCGAN(Config(), Shape(3, 64))
    count = {name: sum(w.numel() for w in net.parameters()) for name, net in gan.named_children()}
    assert count == {"G": 3_576_704, "D": 2_765_568}
    convolutions = [w for w in gan.parameters() if w.ndim == 4]
    assert all(abs(w.std() - 0.02) < 0.002 for w in convolutions)
    gains = torch.cat([m.weight for m in gan.modules() if isinstance(m, torch.nn.BatchNorm2d)])
    assert abs(gains.mean() - 1) < 0.005
    assert abs(gains.std() - 0.02) < 0.005
    with torch.no_grad():
        assert gan.D(torch.zeros(5, 3, 64, 64)).shape == (5,)


# What the GANs of the package say of themselves.

SAYS = {  # task, whether it needs images, what a plan may set, the network that sees an image alone
    "rsgan": ("generation", False, ("batch", "width", "augment", "flatten", "input_noise", "decay_kimg"), "D.0"),
    "r3gan": ("generation", False, ("batch", "augment", "decay_kimg", "labels_kimg"), "D.trunk"),
    "dcgan": ("generation", False, ("batch", "width", "augment"), "D"),
    "gan": ("generation", False, ("batch", "width", "augment"), "D"),
    "cgan": ("generation", False, ("batch", "width", "augment"), None),
    "wgan": ("generation", False, ("batch", "width", "augment"), "D"),
    "wgan-gp": ("generation", False, ("batch", "width", "augment"), "D"),
    "infogan": ("generation", False, ("batch", "width", "augment"), "D"),
    "pix2pix": ("translation", True, ("batch", "width", "decay_kimg"), None),
    "cyclegan": ("translation", True, ("batch", "width", "decay_kimg"), None),
    "srgan": ("super-resolution", True, ("batch", "width", "pretrain_kimg"), "D"),
    "context-encoder": ("inpainting", True, ("batch", "width", "augment"), "D.0"),
    "gawwn": ("captions", True, ("batch", "width", "decay_kimg"), "D.trunk"),
}


@pytest.mark.parametrize("name", GANS)
def test_it_says_what_it_is(name: str) -> None:
    gan_class = find(name)
    said = gan_class.task, gan_class.conditioned_on_images, gan_class.planned, gan_class.image_network
    assert said == SAYS[name]
    assert gan_class.can_take_labels == (name in ("rsgan", "r3gan", "cgan"))
    assert gan_class.needs_labels == (name == "cgan")
    gan = small_gan(name)
    assert gan.judges == (name not in ("pix2pix", "cyclegan", "gawwn"))
    assert gan.augments == (name in ("rsgan", "r3gan", "dcgan", "cgan"))
    assert gan.two_way == (name == "cyclegan")
    assert gan.multiple == {"pix2pix": 16, "cyclegan": 4}.get(name, 1)
    assert gan.scale == (4 if name == "srgan" else 1)

import numpy as np
import torch

from qhybrid.diffusion.noise import GaussianNoise, TimedNoise
from qhybrid.training.batches import Batches


def batches(n=10, batch_size=4, seed=0):
    images = torch.arange(n, dtype=torch.float32).view(n, 1, 1, 1).expand(n, 1, 4, 4).contiguous()
    return Batches(images, batch_size, 100, GaussianNoise(), seed)


def drawn(source, steps):
    return [int(value) for step in steps for value in source[step].images[:, 0, 0, 0]]


def test_every_image_comes_once_before_any_comes_twice():
    order = drawn(batches(), range(10))
    for epoch in range(4):
        assert sorted(order[10 * epoch : 10 * epoch + 10]) == list(range(10))
    assert order[:10] != order[10:20]


def test_a_batch_may_be_larger_than_the_set():
    counts = np.bincount(drawn(batches(n=3, batch_size=7), [0]), minlength=3)
    assert counts.tolist() in ([3, 2, 2], [2, 3, 2], [2, 2, 3])


def test_a_step_depends_on_its_number_alone():
    late = batches()
    first, second = batches(), batches(seed=1)
    for step in range(5):
        first[step]
    for part in ("images", "epsilon", "t"):
        assert torch.equal(getattr(first[5], part), getattr(late[5], part))
    assert not torch.equal(second[5].epsilon, late[5].epsilon)
    assert not torch.equal(late[4].epsilon, late[5].epsilon)


def test_processes_share_a_batch_between_them():
    whole = batches()[3]
    halves = [whole.part(rank, 2) for rank in range(2)]
    assert torch.equal(torch.stack([half.t for half in halves], dim=1).flatten(), whole.t)


def test_time_steps_cover_the_process_evenly():
    source = batches(batch_size=500)
    t = torch.cat([source[step].t for step in range(20)])
    counts = torch.bincount(t, minlength=100).float()
    assert len(counts) == 100
    # 100 expected in each of 100 cells: chi squared of 99 degrees of freedom, six sigma
    assert float(((counts - 100) ** 2 / 100).sum()) < 99 + 6 * (2 * 99) ** 0.5


def test_time_steps_follow_a_density():
    density = np.arange(1, 101, dtype=float) ** 2
    density /= density.sum()
    images = torch.zeros(10, 1, 4, 4)
    source = Batches(images, 500, 100, GaussianNoise(), 0, density=density)
    t = torch.cat([source[step].t for step in range(40)])
    counts = torch.bincount(t, minlength=100).numpy()
    expected = 20_000 * density
    large = expected > 5
    deviation = float(((counts - expected)[large] ** 2 / expected[large]).sum())
    assert deviation < large.sum() + 6 * (2 * large.sum()) ** 0.5
    assert torch.equal(Batches(images, 500, 100, GaussianNoise(), 0, density=density)[7].t, source[7].t)


def test_every_sample_gets_the_quantum_share_of_its_time():
    class Constant:
        def draw(self, name, shape):
            return torch.full(tuple(shape), 100.0)

    images = torch.zeros(10, 1, 4, 4)
    share = (torch.arange(100) >= 50).float()
    mixed = Batches(images, 64, 100, TimedNoise(Constant(), share), 0)[3]
    plain = Batches(images, 64, 100, GaussianNoise(), 0)[3]
    assert torch.equal(mixed.t, plain.t)
    late = mixed.t >= 50
    assert torch.equal(mixed.epsilon[~late], plain.epsilon[~late])
    assert bool((mixed.epsilon[late] == 100).all())


def labelled(dropout, n=1000, multi=False, seed=0):
    images = torch.arange(n, dtype=torch.float32).view(n, 1, 1, 1).expand(n, 1, 4, 4).contiguous()
    labels = torch.arange(n) % 10
    if multi:
        labels = torch.nn.functional.one_hot(labels, 10)
    return Batches(images, 500, 100, GaussianNoise(), seed, labels=labels, label_dropout=dropout)


def test_labels_stay_with_their_images():
    batch = labelled(0.0)[3]
    assert batch.labels.tolist() == [int(value) % 10 for value in batch.images[:, 0, 0, 0]]
    assert batches()[3].labels is None


def test_a_share_of_the_labels_is_withheld_and_nothing_else_changes():
    whole, part = labelled(0.0), labelled(0.2)
    withheld = []
    for step in range(8):
        for name in ("images", "epsilon", "t"):
            assert torch.equal(getattr(part[step], name), getattr(whole[step], name))
        dropped = part[step].labels == -1
        assert torch.equal(part[step].labels[~dropped], whole[step].labels[~dropped])
        withheld.append(dropped)
    share = torch.stack(withheld).double().mean()
    # 4,000 draws: four standard deviations.
    assert abs(float(share) - 0.2) < 4 * (0.2 * 0.8 / 4000) ** 0.5
    assert not torch.equal(withheld[0], withheld[1])


def test_which_labels_are_withheld_is_a_function_of_seed_and_step():
    first, again, other = labelled(0.3), labelled(0.3), labelled(0.3, seed=1)
    first[0], first[1]
    assert torch.equal(first[2].labels, again[2].labels)
    assert not torch.equal(first[2].labels == -1, other[2].labels == -1)


def test_of_a_multi_label_row_all_or_nothing_is_withheld():
    labels = labelled(0.3, multi=True)[0].labels
    gone = (labels == -1).any(dim=1)
    assert (labels[gone] == -1).all()
    assert (labels[~gone].sum(dim=1) == 1).all()
    assert 0.2 < float(gone.double().mean()) < 0.4


def test_processes_share_the_labels_as_they_share_the_images():
    batch = labelled(0.2)[0]
    parts = [batch.part(rank, 3) for rank in range(3)]
    for rank, part in enumerate(parts):
        assert torch.equal(part.labels, batch.labels[rank::3])

import torch

from robaudit.attack.seeding import derived_seed, uniform


def test_a_seed_depends_on_every_part():
    seeds = {
        derived_seed(0, "image", "pgd", 4, 0), derived_seed(1, "image", "pgd", 4, 0),
        derived_seed(0, "other", "pgd", 4, 0), derived_seed(0, "image", "apgd", 4, 0),
        derived_seed(0, "image", "pgd", 5, 0), derived_seed(0, "image", "pgd", 4, 1),
    }  # fmt: skip
    assert len(seeds) == 6
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_noise_is_uniform_in_the_ball_and_leaves_the_global_generator_alone():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    noise = uniform(torch.Size((1, 100, 100)), 0.1, seed=5)
    assert torch.equal(torch.rand(2), expected)
    assert noise.abs().max() <= 0.1
    assert noise.abs().max() > 0.0999
    assert abs(float(noise.mean())) < 0.002
    assert torch.equal(noise, uniform(torch.Size((1, 100, 100)), 0.1, seed=5))

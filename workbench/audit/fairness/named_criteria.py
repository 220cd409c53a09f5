"""The criteria of group fairness that have a name, each with what it asks and where it comes from."""

from __future__ import annotations

from dataclasses import dataclass

GAP, RATIO, WORST, SCALED, SPREAD = (
    "largest gap",
    "smallest ratio",
    "worst group",
    "scaled by the sum",
    "scaled by the spread",
)


@dataclass(frozen=True)
class Criterion:
    """A named criterion: which number of which metrics it looks at."""

    name: str
    number: str
    metrics: tuple[str, ...]
    definition: str
    source: str


CRITERIA = (
    Criterion(
        "equal opportunity", GAP, ("sensitivity",), "Positives are found equally often in all groups.",
        "Hardt, Price & Srebro 2016, Adv Neural Inf Process Syst 29",
    ),
    Criterion(
        "equalised odds", GAP, ("sensitivity", "false positive rate"),
        "Positives are found, and negatives called positive, equally often in all groups; the larger of both gaps.",
        "Hardt, Price & Srebro 2016, Adv Neural Inf Process Syst 29",
    ),
    Criterion(
        "demographic parity, gap", GAP, ("positive rate",), "Equal shares are called positive in all groups, whoever is ill.",
        "Dwork et al. 2012, Proc Innov Theor Comput Sci 214",
    ),
    Criterion(
        "demographic parity, ratio", RATIO, ("positive rate",),
        "The same as a ratio. That it should be at least four fifths is a convention of US employment law, not of medicine.",
        "Uniform Guidelines on Employee Selection Procedures 1978, 29 CFR 1607.4(D)",
    ),
    Criterion(
        "predictive parity, positive", GAP, ("PPV",), "Of those called positive, equally many are, in all groups.",
        "Chouldechova 2017, Big Data 5:153",
    ),
    Criterion(
        "predictive parity, negative", GAP, ("NPV",), "Of those called negative, equally many are, in all groups.",
        "Chouldechova 2017, Big Data 5:153",
    ),
    Criterion(
        "calibration within groups, slope", GAP, ("calibration slope",), "Scores are equally extreme in all groups.",
        "Van Calster et al. 2019, BMC Med 17:230; Kleinberg, Mullainathan & Raghavan 2017, Proc Innov Theor Comput Sci",
    ),
    Criterion(
        "calibration within groups, intercept", GAP, ("calibration intercept",), "Scores are equally high for what is true in all groups.",
        "Van Calster et al. 2019, BMC Med 17:230; Kleinberg, Mullainathan & Raghavan 2017, Proc Innov Theor Comput Sci",
    ),
    Criterion(
        "calibration within groups, ECE", GAP, ("ECE (equal mass)",),
        "Scores miss the share of positives equally far in all groups. ECE is biased upward in small groups.",
        "Guo et al. 2017, Proc Int Conf Mach Learn 70:1321",
    ),
    Criterion(
        "underdiagnosis", WORST, ("underdiagnosis rate",), "Share of the ill who are called healthy, in the group where it is highest.",
        "Seyyed-Kalantari et al. 2021, Nat Med 27:2176",
    ),
    Criterion(
        "equity-scaled AUROC (sum)", SCALED, ("AUROC",), "AUROC / (1 + Σ |AUROC − AUROC of a group|).",
        "Luo et al. 2024, IEEE Trans Med Imaging, doi:10.1109/TMI.2024.3377552",
    ),
    Criterion(
        "equity-scaled AUROC (spread)", SPREAD, ("AUROC",), "Mean of the groups' AUROC / (1 + their standard deviation).",
        "The form that FairMedFM uses (Jin et al. 2024, Adv Neural Inf Process Syst 37), there for Dice",
    ),
    Criterion(
        "worst group", WORST, ("AUROC",), "AUROC of the group where it is lowest.", "Diana et al. 2021, Proc AAAI/ACM Conf AI Ethics Soc",
    ),
    Criterion("AUROC gap", GAP, ("AUROC",), "Largest difference of AUROC between any two groups.", "Pairs of groups, all at once"),
)  # fmt: skip

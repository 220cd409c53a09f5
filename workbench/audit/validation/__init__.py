"""Clinical validation: two models compared, margins, net benefit, sample sizes, and who was left out on the way."""

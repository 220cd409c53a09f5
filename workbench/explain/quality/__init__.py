"""Whether a heat map may be believed: sanity, faithfulness, localisation, stability and agreement, each beside its control."""

"""Whether a heat map may be believed: sanity, faithfulness, localisation, stability and agreement, each beside its control.

:mod:`.trust` is the verb. It makes a :mod:`.study` of model, maps and images, asks each *part*, a function
``(study, **settings) -> Outcome`` (:mod:`.measure`), and puts what they found into :mod:`.tables` with intervals and into
:mod:`.verdicts` in words; :mod:`.result` is the value that comes out.
"""

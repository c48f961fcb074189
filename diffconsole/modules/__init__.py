"""The modules of the chain, a folder each, and what the rest of the package asks of one.

``<key>/row.py`` holds the entry for the chain's table (:class:`diffconsole.strip.module.Module`),
without torch. The row names the Python module that holds what the module does; of these functions
only the first is needed:

``process(audio, sample_rate, **settings)``
    A plain function on ``(batch, channels, samples)`` and settings of ``(batch,)`` by short name.
    An insert returns the shape of `audio`; a send returns its return alone, ``(batch, 2,
    samples)``. Differentiable in audio and settings. A parameter that came later than its
    module may be missing: its argument has a default.
``run(audio, call)``
    Instead of it, for a module that needs more: its bands that are off, a gain to take along, the
    seed of its noise (:class:`diffconsole.modules.call.Call`).
``stream(audio, call)``
    Returns a function from block to block that carries the module's state; `audio` is the first
    block. Without it the module runs again over what lies before a block. Of a send that takes the
    dry signal along it takes that signal's block as well.
``memory_seconds(call)``
    How long that is, for a module without ``stream``; 2 s by default.
``takes_arrays``
    True where ``process`` or ``run``, and ``stream``, take and return NumPy arrays as well: then
    rendering on a CPU loads no PyTorch for it (:mod:`diffconsole.kernels.arrays`).
``tail_samples(sample_rate, settings)``
    How long it rings on after the signal; settings are numbers. 0 by default.
``curve(sample_rate, settings, off_bands)``
    Its curve for the plots (:class:`diffconsole.modules.curve.Curve`); without it the plots list
    its values alone.
``rest_gain_db(call)``
    Its gain in dB where it turns nothing down, of a module whose gain reduction the plots show.
``undo(voice, sample_rate, rng)``
    For the simulation of raw vocals: a voice, ``(samples,)`` float32, that lacks what the module
    does, and the module's settings by short name that bring it back, as NumPy's generator draws
    them. A module that has it can be learnt by a model that does not know it
    (:mod:`diffconsole.training.pretraining.module_rows`).
``latency_samples``
    By how many samples it delays what it lets through at low frequencies, at every rate; 0 by
    default. A search moves the times of the sends by it where it switches the module.
``starts(signals)``
    Settings by short name from which a match begins to search it, a list; empty where the mix shows
    nothing of it (:mod:`diffconsole.modules.evidence`). Without it the module stays off in a match
    and in fine-tuning. A mix counts as one that can show the module where this function shows it in
    the strip's own result with the module in it.

Beside that code lie its twins, whose file names stand in the row: ``script``, for the audition page
(its functions stand in ``diffconsole/audition/chain.js``), and ``effect``, for REAPER (its sections
stand in :mod:`diffconsole.export.effect`). A module without one is left out there, which is
reported.
"""

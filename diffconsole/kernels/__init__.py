"""What compiled loops share: lanes, vectors, bits, threads, FFT, shapes, operators."""

/**
 * The pan of the dry signal, `√2·cos φ` left and `√2·sin φ` right with φ = π/4·(1 + position): 0 dB
 * at the centre.
 */

export const module = {
  fades: true,
  values({ position }, isOn) {
    if (!isOn() || position === 0) return [1, 1];
    const angle = (Math.PI / 4) * (1 + position);
    return [Math.SQRT2 * Math.cos(angle), Math.SQRT2 * Math.sin(angle)];
  },
  isIdle: ({ position }) => position === 0,
  make: () => ({
    process(channels, from, to, now, before) {
      channels.forEach((signal, side) => {
        const start = before ? before[side] : now[side];
        const slope = (now[side] - start) / (to - from);
        for (let n = from; n < to; n++) signal[n] *= start + slope * (n - from);
      });
    },
  }),
};

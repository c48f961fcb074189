/** The gains before and after everything: `y = 10^(gain_db/20)·x`. */

export const module = {
  fades: true,
  values: ({ gain_db }, isOn) => [isOn() ? 10 ** (gain_db / 20) : 1],
  make: () => ({
    process(channels, from, to, now, before) {
      const start = before ? before[0] : now[0];
      if (start === 1 && now[0] === 1) return;
      const slope = (now[0] - start) / (to - from);
      for (const signal of channels) {
        for (let n = from; n < to; n++) signal[n] *= start + slope * (n - from);
      }
    },
  }),
};

import * as Plot from '@observablehq/plot';
import { parseHTML } from 'linkedom';

/** Of every plot on a page, pixels. */
export const WIDTH = 720;

/** One plot as markup: an <svg>, or with a legend a <figure>. Nothing is left to be done where it is shown. */
export function draw(options: Plot.PlotOptions): string {
  const { document } = parseHTML('<!doctype html><html><body></body></html>');
  const style = { background: 'none', fontSize: '12px' };
  // Room for the label of the axis below its ticks.
  const drawn = Plot.plot({
    marginTop: 28,
    marginBottom: 44,
    ...options,
    style,
    document,
  } as Plot.PlotOptions);
  return drawn.outerHTML;
}

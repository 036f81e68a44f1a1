import type { Source } from './source.ts';

/** Calls that take a callback for later: listeners and timers. A timer of the gate's clock is guarded by the clock. */
const takers = /(?:\.(?:on|once|addListener|prependListener|prependOnceListener|addEventListener)|(?<![\w.#])(?:setTimeout|setInterval|setImmediate|queueMicrotask)|process\.nextTick)\(/g;

/** A callback that is guarded. */
const isGuarded = /^(?:guard|guarded|guardCallback|contained|this\.#held)\(/;
/** A callback that only calls what cannot throw: methods of streams, timers, sets and promises. */
const isHarmless = /^\([^()]*\) => (?:void )?(?:undefined|null|resolve\([^()]*\)|(?:[\w#]+[.?!]+)*(?:\(socket as Socket\)\.)?(?:destroy|destroySoon|resume|pause|cut|delete|abort|clearTimeout|clearInterval|terminate|finish|end)\([^;]*\)|process\.exit\(\d\)|\([\w#.]+ = \w+\))$/;

/** The callbacks of a source that nothing guards, as `file: code`. */
export function bareCallbacks({ path, code, text }: Source): string[] {
  const safe = new Set([...code.matchAll(/\b(?:const|readonly) (#?\w+)(?::[^=]+)? = (guard|guarded)\(/g)].map(([, name = '']) => name));
  const found: string[] = [];
  for (const { index, 0: taker } of code.matchAll(takers)) {
    const from = index + taker.length;
    const given = splitArguments(code, from);
    const callback = (taker.startsWith('.') ? given[1] : given[0])?.trim() ?? '';
    const whole = callback.replace(/\s+/g, ' ');
    if (/^(?:\(\(\) => undefined\) as never|resolve|reject|gaveUp\.resolve| *|\d.*)$/.test(whole) || isGuarded.test(whole) || isHarmless.test(whole) || safe.has(whole.replace(/^this\./, ''))) continue;
    found.push(`${path}: ${text.slice(index, from)}${whole.slice(0, 60)}`);
  }
  const later = new Set([...code.matchAll(/\basync (?:function )?(#?\w+)\s*[(<]/g)].map(([, name = '']) => name));
  for (const [whole, name = ''] of code.matchAll(/\bvoid (?:this\.)?(#?\w+)\(/g)) if (later.has(name)) found.push(`${path}: ${whole}`);
  return found;
}

/** The texts between the commas of a call. @param from behind its bracket. */
function splitArguments(code: string, from: number): string[] {
  const found: string[] = [];
  let depth = 0;
  let begun = from;
  for (let at = from; at < code.length; at++) {
    const char = code[at] as string;
    if ('([{'.includes(char)) depth++;
    if (')]}'.includes(char) && --depth < 0) return [...found, code.slice(begun, at)];
    if (char === ',' && depth === 0) {
      found.push(code.slice(begun, at));
      begun = at + 1;
    }
  }
  return found;
}

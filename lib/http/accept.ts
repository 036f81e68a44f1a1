/** The languages of texts for people. */
export type Language = 'en' | 'zh-CN';

/** The preferred one of the gate's languages (RFC 9110 §12.5.4). Chinese in any form counts as zh-CN. */
export function languageOf(header: string | undefined): Language {
  let best: Language = 'en';
  let weight = 0;
  for (const [name, quality] of weighted(header)) {
    const language = name === 'zh' || name.startsWith('zh-') ? 'zh-CN' : name === 'en' || name.startsWith('en-') ? 'en' : null;
    if (language === null || quality <= weight) continue;
    best = language;
    weight = quality;
  }
  return best;
}

/** Whether HTML is asked for by name, and before JSON (RFC 9110 §12.5.1): a range such as `*` asks for nothing in particular. */
export function prefersHtml(header: string | undefined): boolean {
  if (header === undefined || !/text\/html/i.test(header)) return false;
  const asked = weighted(header);
  const qualityOf = (names: readonly string[]): number => {
    for (const name of names) {
      const found = asked.find(([each]) => each === name);
      if (found !== undefined) return found[1];
    }
    return 0;
  };
  return qualityOf(['text/html']) > qualityOf(['application/json', 'application/*', '*/*']);
}

/** Longest header that is read, and most of its members. */
const longest = 1024;
const most = 64;

function weighted(header: string | undefined): [string, number][] {
  return (header ?? '').slice(0, longest).toLowerCase().split(',', most).map((member) => {
    const [name = '', ...parameters] = member.split(';').map((part) => part.trim());
    const quality = parameters.find((each) => each.startsWith('q='))?.slice(2);
    const value = quality === undefined ? 1 : Number(quality);
    return [name, Number.isFinite(value) ? Math.min(1, Math.max(0, value)) : 0];
  });
}

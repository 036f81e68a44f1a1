import { Memo, ownText } from '../platform/platform.ts';

/** Longer names are read without being remembered, and only this far. */
const longest = 512;
/** SDKs send few distinct names. */
const known = new Memo<string | null>(500_000, longest);

/**
 * Families by what their `User-Agent` holds, most telling first: applications stand before the browser or SDK they are made
 * of. The first group is the major version; where there is none, the family has none.
 */
const families: readonly (readonly [family: string, agent: RegExp])[] = [
  ['claude-cli', /\bclaude-(?:cli|code)\/(\d+)/i],
  ['codex-cli', /\bcodex[_-](?:cli|exec|tui|vscode)\w*\/(\d+)/i],
  ['gemini-cli', /\bGeminiCLI(?:-[\w.-]+)?\/(?:v)?(\d+)/i],
  ['cherry-studio', /\bCherry ?Studio\/(\d+)/i],
  ['chatbox', /\bchatbox(?:app)?(?:\.app)?\/(\d+)/i],
  ['lobe-chat', /\blobe(?:hub|chat)[\w-]*\/(\d+)/i],
  ['nextchat', /\b(?:NextChat|ChatGPT-Next-Web)\/(\d+)/i],
  ['cursor', /\bCursor\/(\d+)/],
  ['roo-code', /\bRooCode\/(\d+)/i],
  ['cline', /\bCline\/(\d+)/i],
  ['opencode', /\bopencode\/(\d+)/i],
  ['zed', /\bZed\/(\d+)/],
  ['copilot', /\bGithub-?Copilot\w*\/(\d+)/i],
  ['litellm', /\blitellm\/(\d+)/i],
  ['ai-sdk', /^ai\/(\d+)|\bai-sdk\/[\w-]+\/(\d+)/],
  ['openai-python', /\b(?:Async)?OpenAI\/Python (\d+)/],
  ['openai-node', /\bOpenAI\/(?:JS|NodeJS?) (\d+)/],
  ['openai-go', /\bOpenAI\/Go (\d+)/],
  ['openai-java', /\bOpenAI(?:Client\w*)?\/Java (\d+)/],
  ['openai-ruby', /\b(?:Async)?OpenAI\/Ruby (\d+)/],
  ['openai-dotnet', /\bOpenAI\/(\d+)[\d.]* \(\.NET/],
  ['anthropic-python', /\b(?:Async)?Anthropic\w*\/Python (\d+)/],
  ['anthropic-node', /\bAnthropic\w*\/JS (\d+)/],
  ['anthropic-go', /\bAnthropic\/Go (\d+)/],
  ['anthropic-java', /\bAnthropic\w*\/Java (\d+)/],
  ['google-genai', /\bgoogle-genai-sdk\/(\d+)/],
  ['edge', /\bEdg(?:e|A|iOS)?\/(\d+)/],
  ['opera', /\bOPR\/(\d+)/],
  ['samsung-browser', /\bSamsungBrowser\/(\d+)/],
  ['electron', /\bElectron\/(\d+)/],
  ['firefox', /\b(?:Firefox|FxiOS)\/(\d+)/],
  ['chrome', /\b(?:HeadlessChrome|Chrome|CriOS)\/(\d+)/],
  ['safari', /\bVersion\/(\d+)[\d.]* (?:Mobile\/\w+ )?Safari\//],
  ['aiohttp', /\baiohttp\/(\d+)/],
  ['go-http', /^Go-http-client\/(\d+)/],
];

/** Anything else by its first product (RFC 9110 §10.1.5): `curl/8.5.0`, `python-httpx/0.27.0`, `node`. */
const product = /^([A-Za-z][\w.+-]{0,31})(?:\/v?(\d{1,4})[\w.+-]*)?(?:[ ;(]|$)/;

/**
 * Family and major version of who calls, by its own word: `openai-python/1`, `claude-cli/2`, `curl/8`, `chrome/131`, or the
 * family alone. A patch release is the same client. Null when nothing is said that has a name.
 */
export function clientOf(agent: string | undefined): string | null {
  if (agent === undefined || agent === '') return null;
  const found = known.get(agent);
  if (found !== undefined) return found;
  const client = read(agent.slice(0, longest));
  const own = client === null ? null : ownText(client);
  known.set(agent, own);
  return own;
}

/** @param client as {@link clientOf} says it. */
export function familyOf(client: string): string {
  const slash = client.indexOf('/');
  return slash === -1 ? client : client.slice(0, slash);
}

function read(agent: string): string | null {
  for (const [family, pattern] of families) {
    const match = pattern.exec(agent);
    if (match !== null) return named(family, match[1] ?? match[2]);
  }
  const match = product.exec(agent);
  return match === null ? null : named((match[1] as string).toLowerCase(), match[2]);
}

const named = (family: string, major: string | undefined): string => (major === undefined ? family : `${family}/${Number(major.slice(0, 4))}`);

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from '../support/property.ts';
import { clientOf, familyOf } from '../../lib/identity/caller.ts';

const mozilla = 'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko)';

const agents: Readonly<Record<string, string | null>> = {
  'OpenAI/Python 1.54.0': 'openai-python/1',
  'AsyncOpenAI/Python 2.1.3': 'openai-python/2',
  'OpenAI/JS 5.12.2': 'openai-node/5',
  'OpenAI/Go 1.12.0': 'openai-go/1',
  'OpenAIClientImpl/Java 2.8.1': 'openai-java/2',
  'OpenAI/2.2.0 (.NET 8.0.11; Linux)': 'openai-dotnet/2',
  'Anthropic/Python 0.39.0': 'anthropic-python/0',
  'AsyncAnthropic/Python 0.39.0': 'anthropic-python/0',
  'Anthropic/JS 0.65.0': 'anthropic-node/0',
  'claude-cli/2.0.14 (external, cli)': 'claude-cli/2',
  'claude-code/1.0.3': 'claude-cli/1',
  'codex_cli_rs/0.42.0 (Ubuntu 24.4.0; x86_64) unknown': 'codex-cli/0',
  'codex_vscode/0.4.15 (Windows 10)': 'codex-cli/0',
  'GeminiCLI/0.1.5 (darwin; arm64)': 'gemini-cli/0',
  'GeminiCLI-tui/v0.8.1/gemini-2.5-pro (linux; x64)': 'gemini-cli/0',
  'google-genai-sdk/1.24.0 gl-python/3.12.3': 'google-genai/1',
  'ai/5.0.60 ai-sdk/openai/2.0.42 runtime/node.js/22': 'ai-sdk/5',
  'ai-sdk/openai-compatible/1.0.19 ai-sdk/provider-utils/3.0.10 runtime/node.js/v22': 'ai-sdk/1',
  'litellm/1.77.5': 'litellm/1',
  'opencode/0.14.1 ai-sdk/provider-utils/3.0.10 runtime/bun/1.2.21': 'opencode/0',
  'curl/8.5.0': 'curl/8',
  'Wget/1.21.4': 'wget/1',
  'python-requests/2.32.3': 'python-requests/2',
  'python-httpx/0.27.2': 'python-httpx/0',
  'Python/3.12 aiohttp/3.10.10': 'aiohttp/3',
  'Go-http-client/1.1': 'go-http/1',
  'Go-http-client/2.0': 'go-http/2',
  'okhttp/4.12.0': 'okhttp/4',
  'PostmanRuntime/7.43.0': 'postmanruntime/7',
  'axios/1.7.7': 'axios/1',
  'Apache-HttpClient/5.3.1 (Java/21.0.4)': 'apache-httpclient/5',
  node: 'node',
  undici: 'undici',
  'my-agent': 'my-agent',
  'my-agent/v3.1': 'my-agent/3',
  'my-agent/next': null,
  [`${mozilla} Chrome/131.0.0.0 Safari/537.36`]: 'chrome/131',
  [`${mozilla} Chrome/131.0.0.0 Safari/537.36 Edg/131.0.0.0`]: 'edge/131',
  [`${mozilla} Chrome/129.0.0.0 Safari/537.36 OPR/115.0.0.0`]: 'opera/115',
  [`${mozilla} CherryStudio/1.5.11 Chrome/138.0.7204.235 Electron/37.4.0 Safari/537.36`]: 'cherry-studio/1',
  [`${mozilla} Cursor/1.7.28 Chrome/132.0.6834.210 Electron/34.5.8 Safari/537.36`]: 'cursor/1',
  [`${mozilla} Some-App/2.1.0 Chrome/138.0.7204.235 Electron/37.4.0 Safari/537.36`]: 'electron/37',
  'Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0': 'firefox/132',
  'Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Safari/605.1.15': 'safari/18',
  'Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Mobile/15E148 Safari/604.1': 'safari/18',
  'Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/131.0.6778.73 Mobile/15E148 Safari/604.1': 'chrome/131',
  'Mozilla/5.0 (compatible; something)': 'mozilla/5',
  '': null,
  '1234': null,
  '(nothing)': null,
  '中文': null,
};

describe('clientOf', () => {
  for (const [agent, expected] of Object.entries(agents)) {
    it(`calls ${JSON.stringify(agent.slice(-60))} ${expected}`, () => assert.equal(clientOf(agent), expected));
  }

  it('says nothing of who says nothing', () => {
    assert.equal(clientOf(undefined), null);
  });

  it('does not take a patch or minor release for another client', () => {
    fc.assert(fc.property(fc.nat({ max: 99 }), fc.nat({ max: 99 }), fc.nat({ max: 99 }), fc.nat({ max: 99 }), (minor, patch, later, last) => {
      for (const name of ['OpenAI/Python', 'OpenAI/JS', 'Anthropic/JS']) assert.equal(clientOf(`${name} 1.${minor}.${patch}`), clientOf(`${name} 1.${later}.${last}`));
      for (const name of ['claude-cli', 'curl', 'python-httpx']) assert.equal(clientOf(`${name}/2.${minor}.${patch}`), clientOf(`${name}/2.${later}.${last}`));
    }));
  });

  it('gives a short name without a surprise in it, whatever is sent', () => {
    fc.assert(fc.property(fc.oneof(fc.string({ maxLength: 2000 }), fc.string({ unit: fc.constantFrom(...'aZ9/.- (;v') })), (agent) => {
      const client = clientOf(agent);
      assert.equal(clientOf(agent), client);
      if (client !== null) assert.match(client, /^[a-z][a-z0-9_.+-]{0,31}(?:\/\d{1,4})?$/);
    }));
  });

  it('takes time linear to the length: a square of it would outlast every test', () => {
    for (let at = 0; at < 20_000; at++) clientOf(`agent-${at}/1.0`);
    for (let at = 0; at < 20; at++) clientOf(`${'OpenAI/'.repeat(100_000)}${at}`);
  });
});

describe('familyOf', () => {
  it('is what stands before the version', () => {
    assert.deepEqual(['claude-cli/2', 'node', 'chrome/131'].map(familyOf), ['claude-cli', 'node', 'chrome']);
  });
});

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { MemberScan } from '../../lib/http/json-scan.ts';
import { type ClientIds, clientIdsOf } from '../../lib/record/client-ids.ts';

const hex = 'ab12'.repeat(16);
const session = '11111111-2222-4333-8444-555555555555';
const none: ClientIds = { device: null, session: null, home: null };
const long = 'x'.repeat(40_000);
/** A directory below a home. */
const homeOf = (name: string): string => `/home/${name}/w`;
const message = (text: string): object[] => [{ role: 'user', content: text }];

/** Forms as five coding agents send them. */
const cases: readonly (readonly [what: string, family: string | null, headers: readonly string[], body: object, ids: Partial<ClientIds>])[] = [
  ['Claude Code, JSON in user_id', 'claude-cli', [], { system: `Primary working directory: ${homeOf('alice')}`, messages: [], metadata: { user_id: JSON.stringify({ device_id: hex, account_uuid: '', session_id: session }) } }, { device: hex, session, home: 'linux alice' }],
  ['Claude Code before 2.1.78', 'claude-cli', [], { messages: [], metadata: { user_id: `user_${hex}_account__session_${session}` } }, { device: hex, session }],
  ['Claude Code, ids in the middle of a long body', 'claude-cli', [], { system: long, metadata: { user_id: `user_${hex}_account__session_${session}` }, messages: message(long) }, { device: hex, session }],
  ['Claude Code, the session in a header alone', 'claude-cli', ['X-Claude-Code-Session-Id', session], { messages: [] }, { session }],
  ['Codex, headers', 'codex-cli', ['x-codex-turn-metadata', JSON.stringify({ installation_id: session }), 'session-id', 's-1'], { input: message('<environment_context>\n<cwd>/Users/bob/w</cwd>') }, { device: session, session: 's-1', home: 'mac bob' }],
  ['Codex, body', 'codex-cli', [], { prompt_cache_key: 'cache-1', client_metadata: { 'x-codex-installation-id': session }, input: [] }, { device: session, session: 'cache-1' }],
  ['opencode', 'opencode', ['x-session-id', 'ses_1'], { messages: message('Working directory: C:\\Users\\carol\\w') }, { session: 'ses_1', home: 'windows carol' }],
  ['Gemini CLI', 'gemini-cli', [], { contents: [{ parts: [{ text: `- **Workspace Directories:**\n  - ${homeOf('dave')}` }] }] }, { home: 'linux dave' }],
  ['Qwen Code, a path of its memory', 'qwencode', [], { messages: message(`memory: ${homeOf('erin')}/QWEN.md`) }, { home: 'linux erin' }],
  ['a container', 'claude-cli', [], { system: `Primary working directory: ${'/root'}/w` }, {}],
  ['a container whose messages speak of a home', 'claude-cli', [], { system: 'Primary working directory: /workspace', messages: message(`see ${homeOf('frank')}`) }, {}],
  ['containers with a home', 'codex-cli', [], { input: message('<cwd>/home/runner/work</cwd>') }, {}],
  ['a client that is no agent', 'openai-python', [], { messages: message('Working directory: /home/grace') }, {}],
  ['no client at all', null, [], { messages: message('<cwd>/home/heidi</cwd>') }, {}],
  ['an SDK with a cache key', 'openai-python', [], { prompt_cache_key: 'team-7', messages: [] }, { session: 'team-7' }],
  ['an SDK that names its end user', 'openai-python', [], { messages: message('hi'), user: 'u-1' }, { home: 'user u-1' }],
  ['an SDK that names its end user in both members', null, [], { user: 'u-1', messages: message('hi'), safety_identifier: 'a1b2' }, { home: 'user a1b2' }],
  ['a tool with a parameter of that name', 'openai-python', [], { messages: [{ role: 'user', content: [{ type: 'tool_use', input: { user: 'bob' } }] }] }, {}],
  ['an agent that names an end user', 'qwencode', [], { messages: message('hi'), user: 'u-1' }, {}],
  ['ids of other forms', 'claude-cli', [], { metadata: { user_id: 'alice@example.com' } }, {}],
];

describe('what a client says of device, session and home', () => {
  for (const [what, family, headers, body, ids] of cases) {
    it(what, () => {
      const bytes = Buffer.from(JSON.stringify(body));
      const scan = new MemberScan({ bytes: (from, to) => bytes.subarray(from, to) });
      scan.push(bytes);
      scan.end();
      for (const outline of [null, scan.outline()]) assert.deepEqual(clientIdsOf(headers, family, bytes, outline), { ...none, ...ids });
    });
  }

  it('does not take an id in a message for one of the body', () => {
    const bytes = Buffer.from(JSON.stringify({ metadata: { user_id: `user_${hex}_account__session_${session}` }, messages: [...message(long), { role: 'assistant', content: [{ type: 'tool_use', input: { user_id: `user_${'0'.repeat(64)}_account__session_stolen-session` } }] }] }));
    const scan = new MemberScan({ bytes: (from, to) => bytes.subarray(from, to) });
    scan.push(bytes);
    scan.end();
    assert.deepEqual(clientIdsOf([], 'claude-cli', bytes, scan.outline()), { device: hex, session, home: null });
  });

  it('is nothing without a body', () => assert.deepEqual(clientIdsOf([], 'claude-cli', Buffer.alloc(0)), none));
});

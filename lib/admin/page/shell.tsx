// The frame of the page: the login, the navigation, and the panel that is shown. Panels, languages and charts load when they are needed.

import { effect, useSignal } from '@preact/signals';
import { type ComponentType, type JSX, render } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { logout, mayChange, resume, session } from './api.ts';
import { Login } from './login.tsx';
import { hrefOf, type PanelName, panels, place } from './route.ts';
import { live } from './stream.ts';
import { choose, chooseZone, language, type Language, speak, t, zone } from './text.ts';
import { Copy, notice, panelLine, pointedAt } from './ui.tsx';

const loaders: Readonly<Record<PanelName, () => Promise<{ readonly default: ComponentType }>>> = {
  overview: () => import('./panels/overview.tsx'),
  findings: () => import('./panels/findings.tsx'),
  callers: () => import('./panels/callers.tsx'),
  requests: () => import('./panels/requests.tsx'),
  keys: () => import('./panels/keys.tsx'),
  bans: () => import('./panels/bans.tsx'),
  targets: () => import('./panels/targets.tsx'),
  health: () => import('./panels/health.tsx'),
  settings: () => import('./panels/settings.tsx'),
};

/** Marks of the navigation, drawn by strokes on 16 × 16. */
const marks: Readonly<Record<PanelName, string>> = {
  overview: 'M2 13h12M4 13V8m4 5V3m4 10V6', findings: 'M8 2 1.5 13.5h13zM8 6.5v3.2m0 1.8v.3', callers: 'M8 8a2.8 2.8 0 1 0 0-5.6A2.8 2.8 0 0 0 8 8zm-5.5 6c.5-3 2.7-4.4 5.5-4.4s5 1.4 5.5 4.4', requests: 'M2 4h9l-2-2m5 10H5l2 2',
  keys: 'M10.5 9a3.5 3.5 0 1 0-3.3-2.3L2 12v2h2.5v-1.5H6V11h1.3l1.4-2.2M11 5.2v.1', bans: 'M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12zM3.8 3.8l8.4 8.4', targets: 'M2 3h12v4H2zm0 6h12v4H2zm2.5-4h.1m-.1 6h.1', health: 'M1.5 8.5h3l2-5 3 9 2-4h3', settings: 'M2 4.5h7m4 0h1M2 11.5h2m4 0h6M11 3v3M6 10v3',
};

function Mark({ of }: { readonly of: PanelName }): JSX.Element {
  return <svg viewBox="0 0 16 16" width="16" height="16" aria-hidden="true" fill="none" stroke="currentColor" stroke-width="1.4" stroke-linecap="round" stroke-linejoin="round"><path d={marks[of]} /></svg>;
}

function Page(): JSX.Element | null {
  const who = session.value;
  if (who === null) return null;
  return who.access === 'none' ? <Login /> : <Frame />;
}

function Frame(): JSX.Element {
  const { panel } = place.value;
  const main = useRef<HTMLElement>(null);
  return (
    <div class="frame" onPointerOver={point} onFocusIn={point}>
      <button type="button" class="skip" onClick={() => main.current?.querySelector('h1')?.focus()}>{t().skip}</button>
      <header class="rail">
        <p class="brand"><svg viewBox="0 0 16 16" width="20" height="20" aria-hidden="true"><path fill="currentColor" d="M8 1a7 7 0 0 0-7 7v7h3.5V8a3.5 3.5 0 0 1 7 0v7H15V8a7 7 0 0 0-7-7zm-1 9h2v5H7z" /></svg>Heimdall</p>
        <nav aria-label={t().navigation}>
          {panels.map((name) => <a href={hrefOf(name)} aria-current={name === panel ? 'page' : undefined}><Mark of={name} />{t()[name].title}</a>)}
        </nav>
        <Reader />
      </header>
      <main ref={main} id="main"><Shown name={panel} /></main>
      <Line />
      <Notice />
    </div>
  );
}

/** Notes the command line of what is under the pointer or has the focus. */
function point(event: Event): void {
  pointedAt.value = (event.target as Element).closest<HTMLElement>('[data-line]')?.dataset['line'] ?? null;
}

/** The panel, loaded when it is first shown. */
function Shown({ name }: { readonly name: PanelName }): JSX.Element {
  const loaded = useSignal<{ readonly name: PanelName; readonly Panel: ComponentType } | null>(null);
  const failed = useSignal(false);
  const first = useRef(true);
  useEffect(() => {
    failed.value = false;
    loaders[name]().then(({ default: Panel }) => { if (place.peek().panel === name) loaded.value = { name, Panel }; }, () => { failed.value = true; });
  }, [name]);
  const shown = loaded.value?.name ?? null;
  useEffect(() => {
    if (shown === null) return;
    scrollTo(0, 0);
    // A screen reader goes on at the new panel; the first one is read from the top.
    if (!first.current) document.querySelector<HTMLElement>('main h1')?.focus({ preventScroll: true });
    first.current = false;
  }, [shown]);
  // A file that once failed stays so for the browser: the page is loaded again when the gate is back.
  useEffect(() => {
    if (!failed.value) return;
    let wasAway = !live.peek();
    return effect(() => {
      if (!live.value) wasAway = true;
      else if (wasAway) location.reload();
    });
  }, [failed.value]);
  if (failed.value) return <p class="problem" role="alert">{t().newVersion} <button type="button" onClick={() => location.reload()}>{t().reload}</button></p>;
  const { Panel } = loaded.value ?? {};
  return Panel === undefined ? <p class="empty" aria-busy="true">{t().loading}</p> : <Panel />;
}

/** Who reads, in which language and time zone, and the way out. */
function Reader(): JSX.Element {
  const { auth, user } = session.value ?? {};
  const here = Intl.DateTimeFormat().resolvedOptions().timeZone;
  return (
    <div class="reader">
      {mayChange() ? null : <p class="badge warn">{t().readOnly}</p>}
      <details>
        <summary>{t().preferences}</summary>
        <label class="field"><span>{t().language}</span>
          <select value={language.value} onChange={(event) => void choose(event.currentTarget.value as Language)}>
            <option value="en" lang="en">English</option><option value="zh-CN" lang="zh-CN">中文（简体）</option>
          </select>
        </label>
        <label class="field"><span>{t().timeZone}</span>
          <select value={zone.value ?? ''} onChange={(event) => chooseZone(event.currentTarget.value)}>
            <option value="">{t().thisBrowser(here)}</option>
            {['UTC', ...Intl.supportedValuesOf('timeZone').filter((name) => name !== 'UTC')].map((name) => <option value={name}>{name}</option>)}
          </select>
        </label>
      </details>
      {user ? <p class="quiet">{user.username}</p> : null}
      {auth === 'host' ? null : <button type="button" onClick={() => void logout()}>{t().logOut}</button>}
    </div>
  );
}

/** The command line that prints what the reader looks at. */
function Line(): JSX.Element {
  const line = pointedAt.value ?? panelLine.value;
  return (
    <footer class="line">
      <span class={live.value ? 'dot on' : 'dot'} title={live.value ? t().connected : t().notConnected} />
      <span class="aside">{t().commandLine}</span>
      <code>{line}</code>
      <Copy text={line} label={t().copyLine} />
    </footer>
  );
}

/** How long a notice stays, milliseconds. */
const noticeTime = 6000;

function Notice(): JSX.Element {
  const said = notice.value;
  useEffect(() => {
    if (said === null) return;
    const timer = setTimeout(() => { notice.value = null; }, noticeTime);
    return () => clearTimeout(timer);
  }, [said]);
  return <div class="notices" role="status">{said === null ? null : <p class={said.bad ? 'bad' : undefined}>{said.text}</p>}</div>;
}

await Promise.all([speak(), resume()]);
render(<Page />, document.querySelector('#page') as HTMLElement);

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { formModel, readForm } from '../../lib/http/multipart.ts';

describe('formModel', () => {
  const boundary = '----b0undary';
  const type = `multipart/form-data; boundary=${boundary}`;
  const part = (head: string, value: string): string => `--${boundary}\r\n${head}\r\n\r\n${value}\r\n`;
  const form = (...parts: string[]): Buffer => Buffer.from(`${parts.join('')}--${boundary}--\r\n`);
  const field = (name: string, value: string): string => part(`Content-Disposition: form-data; name="${name}"`, value);
  const upload = (content: string): string => part('Content-Disposition: form-data; name="file"; filename="a.mp3"\r\nContent-Type: audio/mpeg', content);

  it('finds the field before and behind a file', () => {
    assert.equal(formModel(form(field('model', 'whisper-1'), upload('\x00\xff')), type), 'whisper-1');
    assert.equal(formModel(form(upload('\x00\xff\r\n\r\n--'), field('prompt', 'x'), field('model', 'whisper-1')), type), 'whisper-1');
    assert.equal(formModel(form(field('model', 'größe')), `multipart/form-data; charset=utf-8; boundary="${boundary}"`), 'größe');
  });

  it('reads none where there are several, and an empty one for what it is', () => {
    assert.equal(readForm(form(field('model', 'a'), field('model', 'b')), type), null);
    assert.equal(formModel(form(field('model', '')), type), '');
  });

  it('finds the field however its part is written', () => {
    assert.equal(formModel(form(part('content-disposition: form-data; name=model', 'a')), type), 'a');
    assert.equal(formModel(form(part('Content-Type: text/plain\r\nContent-Disposition: form-data; name="model"', 'a')), type), 'a');
    assert.equal(formModel(form(part('Content-Disposition: form-data; name="model"\r\nContent-Type: text/plain; charset=utf-8', 'a')), type), 'a');
  });

  it('reads none with a name in single quotes, which some parsers remove', () => {
    for (const name of ["'model'", "'x'", "'model", "model'"]) {
      for (const spelled of [`name=${name}`, `name="${name}"`]) assert.equal(readForm(form(field('model', 'a'), part(`Content-Disposition: form-data; ${spelled}`, 'b')), type), null, spelled);
    }
    assert.equal(formModel(form(field("it's", 'x'), field('model', 'a')), type), 'a');
  });

  it('takes nothing from inside a file or another field for it', () => {
    const decoy = 'Content-Disposition: form-data; name="model"\r\n\r\ncheap\r\n';
    assert.equal(formModel(form(upload(decoy), field('model', 'dear')), type), 'dear');
    assert.equal(formModel(form(upload(`name="model"\r\n\r\ncheap\r\n--other\r\n`), field('model', 'dear')), type), 'dear');
    assert.equal(formModel(form(field('prompt', 'name="model"\r\n\r\ncheap'), field('model', 'dear')), type), 'dear');
    assert.equal(formModel(form(part('Content-Disposition: form-data; name="x"; filename="name=\\"model\\""', 'cheap'), field('model', 'dear')), type), 'dear');
    assert.equal(formModel(form(part('X-Other: name="model"\r\nContent-Disposition: form-data; name="x"', 'cheap'), field('model', 'dear')), type), 'dear');
    assert.equal(formModel(Buffer.concat([form(field('x', 'a')), form(field('model', 'cheap'))]), type), null);
    assert.equal(formModel(form(upload(decoy)), type), null);
    assert.equal(formModel(form(field('xmodel', 'a'), field('model2', 'b'), field('Model', 'c')), type), null);
  });

  it('leaves the model untold where a name is written so that only the upstream would read it', () => {
    for (const name of [`name*=utf-8''model`, 'name*0="mo"; name*1="del"', `name="x"; NAME*=utf-8''model`]) {
      assert.equal(formModel(form(part(`Content-Disposition: form-data; ${name}`, 'dear'), field('model', 'cheap')), type), null, name);
    }
    assert.equal(formModel(form(part(`Content-Disposition: form-data; name="model"\r\nX-Long: ${'x'.repeat(5000)}`, 'dear'), field('model', 'cheap')), type), null);
  });

  it('finds none where there is none, or no form', () => {
    const bytes = form(field('model', 'a'));
    assert.equal(formModel(form(field('prompt', 'a')), type), null);
    assert.equal(formModel(bytes, 'multipart/form-data'), null);
    assert.equal(formModel(bytes, 'multipart/form-data; boundary=other'), null);
    assert.equal(formModel(Buffer.alloc(0), type), null);
    assert.equal(formModel(form(field('model', 'x'.repeat(100_000))), type), null);
    for (let end = 0; end < bytes.length; end++) assert.ok([null, 'a'].includes(formModel(bytes.subarray(0, end), type)), `${end}`);
  });

  it('looks through a large upload in time linear to its length: a square of it would outlast every test', () => {
    assert.equal(formModel(form(upload(`--${'\r\n--'.repeat(1_000_000)}`), field('model', 'a')), type), 'a');
    assert.equal(formModel(Buffer.from(`--b${'\r\n--b'.repeat(1_000_000)}`), 'multipart/form-data; boundary=b'), null);
    assert.equal(formModel(Buffer.from(`--b${'\r\n--b\r\n\r\n'.repeat(500_000)}`), 'multipart/form-data; boundary=b'), null);
  });
});

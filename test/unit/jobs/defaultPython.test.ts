import assert from 'node:assert/strict';
import { join, resolve } from 'node:path';
import { defaultPython } from '../../../server/jobs/defaultPython';

describe('the Python of training jobs', () => {
  it("is the checkout's own, else the one on the PATH", () => {
    const root = resolve(__dirname, '..', '..', '..');
    assert.equal(defaultPython(root, 'linux'), join(root, '.venv', 'bin', 'python'));
    assert.equal(defaultPython(root, 'win32'), join(root, '.venv', 'Scripts', 'python.exe'));
    assert.equal(defaultPython(join(root, 'docs'), 'linux'), 'python3');
    assert.equal(defaultPython(join(root, 'docs'), 'win32'), 'python');
  });
});

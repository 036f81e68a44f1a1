import { expectation } from '../errors.ts';
import { HeimdallError } from '../errors.ts';

/**
 * An error that names an invalid field of a request.
 * @param got the value as it may be shown, without secrets.
 */
export function invalid(field: string, expected: string, got: string, example?: unknown): HeimdallError {
  return new HeimdallError('invalid_value', { message: `${field}: ${expectation(expected, got, example)}`, field });
}

import { describe, expect, it } from 'vitest';
import { interfaceOf, render } from './template.ts';

describe('render', () => {
  it('puts in the value of every variable', () => {
    expect(render('a ${A} b ${B_2} $C ${A}', { A: '10.0.0.1/24', B_2: 'lb-1' })).toBe('a 10.0.0.1/24 b lb-1 $C 10.0.0.1/24');
  });

  it('refuses a variable without a value, and a value that would be more than one word', () => {
    expect(() => render('${A}', {})).toThrow('a variable A');
    expect(() => render('${A}', { A: '1 }\nscript' })).toThrow('must be one word');
    expect(() => render('${A}', { A: '' })).toThrow('must be one word');
  });
});

describe('interfaceOf', () => {
  const info = { netmask: '255.255.255.0', family: 'IPv4', mac: '00:00:00:00:00:00', internal: false, cidr: null } as const;
  const interfaces = { eth0: [{ ...info, address: '10.0.0.11' }], eth1: [{ ...info, address: '10.0.1.11' }] };
  it('finds the one with the address, if there is one', () => {
    expect(interfaceOf('10.0.1.11', interfaces)).toBe('eth1');
    expect(interfaceOf('10.0.2.11', interfaces)).toBeUndefined();
  });
});

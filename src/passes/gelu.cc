// Gelu, written out: x * (1 + Erf(x / sqrt 2)) / 2, or with Tanh(sqrt(2 / pi) * (x + 0.044715 x^3))
// in place of Erf. The factors come in any order.
#include "passes/passes.h"

namespace mezzo::passes {
namespace {

constexpr double kSqrt2 = 1.41421356237309504880;
constexpr double kSqrt2OverPi = 0.79788456080286535588;

// The steps of a formula, and what it is of.
struct Found {
  int x = -1;
  std::vector<int> members;
};

// x / sqrt 2.
Found argument_of_erf(const Program& program, int slot) {
  const int div = program.maker_of(slot, "Div");
  if (div >= 0 && program.is_number(program.in(div, 1), kSqrt2)) {
    return {program.in(div, 0), {div}};
  }
  const int mul = program.maker_of(slot, "Mul");
  return {program.beside_number(mul, 1 / kSqrt2), {mul}};
}

// The factors of a product, however it is bracketed, and its steps.
struct Product {
  int xs = 0, constants = 0;  // how often x, and 0.044715
  std::vector<int> members;
};

// Adds the factors of the product in `slot`. False where it has others.
bool add_factors(const Program& program, int slot, int x, Product& product) {
  const int mul = program.maker_of(slot, "Mul");
  if (mul < 0 || product.members.size() >= 4) return false;
  product.members.push_back(mul);
  for (int input = 0; input < 2; ++input) {
    const int factor = program.in(mul, input), pow = program.maker_of(factor, "Pow");
    if (factor == x) {
      ++product.xs;
    } else if (program.is_number(factor, 0.044715)) {
      ++product.constants;
    } else if (pow >= 0 && program.in(pow, 0) == x && program.is_number(program.in(pow, 1), 3)) {
      product.xs += 3;
      product.members.push_back(pow);
    } else if (!add_factors(program, factor, x, product)) {
      return false;
    }
  }
  return true;
}

// sqrt(2 / pi) * (x + 0.044715 x^3).
Found argument_of_tanh(const Program& program, int slot) {
  const int scale = program.maker_of(slot, "Mul");
  const int sum = program.maker_of(program.beside_number(scale, kSqrt2OverPi), "Add");
  for (int input = 0; sum >= 0 && input < 2; ++input) {
    const int x = program.in(sum, input);
    Product product;
    if (!add_factors(program, program.in(sum, 1 - input), x, product)) continue;
    if (product.xs != 3 || product.constants != 1) continue;
    Found found{x, {scale, sum}};
    found.members.insert(found.members.end(), product.members.begin(), product.members.end());
    return found;
  }
  return {};
}

// The steps from `sum` (1 + Erf) to x * sum / 2, the last of which is the result; empty where the
// formula goes on otherwise.
std::vector<int> product(const Program& program, int sum, int x) {
  const int first = program.user(sum, "Mul");
  const int factor = program.other(first, sum);
  if (factor < 0) return {};
  const int half = program.maker_of(factor, "Mul");
  if (half >= 0 && program.beside_number(half, 0.5) == x) return {half, first};
  const int result = program.step(first).out[0];
  const int second = program.user(result, "Mul");
  const int last = program.other(second, result);
  if (factor == x && program.is_number(last, 0.5)) return {first, second};
  if (program.is_number(factor, 0.5) && last == x) return {first, second};
  return {};
}

}  // namespace

void gelu(Program& program) {
  for (int i = 0; i < program.size(); ++i) {
    const bool is_erf = program.is(i, "Erf");
    if (!is_erf && !program.is(i, "Tanh")) continue;
    Found found = is_erf ? argument_of_erf(program, program.in(i, 0))
                         : argument_of_tanh(program, program.in(i, 0));
    const int value = program.step(i).out[0];
    const int one = program.user(value, "Add");
    if (found.x < 0 || one < 0 || program.beside_number(one, 1) != value) continue;
    const std::vector<int> rest = product(program, program.step(one).out[0], found.x);
    if (rest.empty()) continue;
    found.members.insert(found.members.end(), {i, one});
    found.members.insert(found.members.end(), rest.begin(), rest.end());
    Replacement gelu{.op_type = "Gelu", .domain = "", .opset = 20};
    gelu.attributes = {attribute("approximate", std::string(is_erf ? "none" : "tanh"))};
    gelu.in = {found.x};
    gelu.out = {program.step(rest.back()).out[0]};
    program.fuse(std::move(found.members), std::move(gelu));
  }
}

}  // namespace mezzo::passes

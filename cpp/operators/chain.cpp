// Chain(inputs...): a short program of elementwise steps over blocks that stay in the cache, in one pass over memory, in
// any layout. ChainSum(inputs...) adds up what the program makes over all axes behind `axis`.
//
// The values of a program are its inputs, then its constants, then what each step makes, numbered in that order; a step
// is four integers, what it does and three values, and the last one makes the result. Dimensions up to `axis` are rows,
// those behind it columns. In blocks of `lanes` channels the rows are blocks of channels, and `axis` is 2. An input has
// the dimensions of the result, or ones in place of all columns, of leading rows, or of both.
#include <algorithm>
#include <array>
#include <stdexcept>

#include "kernels.hpp"
#include "operator.hpp"

namespace onnxplain::operators {
namespace {

constexpr std::size_t piece = 1 << 14;
//! Floats of a value that are worked on at once, unless sums need whole rows of up to `longest_row`.
constexpr std::size_t block = 512, longest_row = 8192;

std::size_t product(const std::int64_t* begin, const std::int64_t* end) {
    std::size_t count = 1;
    for (; begin != end; ++begin) {
        count *= static_cast<std::size_t>(*begin);
    }
    return count;
}

//! Where an input lies: row r of the result reads row r % rows; `columns` is all of them, or 1 or `lanes` that repeat.
struct Source {
    const float* data;
    std::size_t rows, columns;
};

struct Frame {
    std::vector<std::int64_t> dims;
    std::size_t rows = 1, columns = 1;
};

class Chain final : public Kernel {
  public:
    Chain(const Attributes& attributes, bool reduced) : kernels_(chosen_kernels()), reduced_(reduced) {
        constants_ = attributes.floats("constants");
        const std::vector<std::int64_t> program = attributes.ints("program"), lanes = attributes.ints("lanes");
        const std::vector<std::int64_t> axis = attributes.ints("axis"), inputs = attributes.ints("count");
        if (lanes.size() != 1 || (lanes[0] != 1 && lanes[0] != 8 && lanes[0] != 16) || axis.size() != 1 ||
            axis[0] < 0 || inputs.size() != 1 || inputs[0] < 1) {
            throw std::invalid_argument("a chain takes an axis, a number of inputs, and 1, 8 or 16 lanes");
        }
        lanes_ = static_cast<std::size_t>(lanes[0]);
        axis_ = static_cast<std::size_t>(axis[0]);
        inputs_ = static_cast<std::size_t>(inputs[0]);
        take(program);
        place();
    }

    void compute(const Context& context) const override {
        std::vector<Tensor> given;
        for (std::size_t i = 0; i < inputs_; ++i) {
            given.push_back(context.input(i));
        }
        const Frame frame = framed(given);
        std::vector<Source> sources;
        for (const Tensor& one : given) {
            sources.push_back(source(one, frame));
        }
        std::vector<std::int64_t> dims = frame.dims;
        if (reduced_) {
            std::fill(dims.begin() + static_cast<std::ptrdiff_t>(axis_), dims.end(), 1);
        }
        float* out = context.output(dims);
        if (frame.columns == 0 || frame.rows == 0) {
            std::fill_n(out, product(dims.data(), dims.data() + dims.size()), 0.0f);
            return;
        }
        const std::size_t parts = whole_rows_ || reduced_ ? 1 : (frame.columns + piece - 1) / piece;
        const std::size_t columns = parts == 1 ? frame.columns : piece;
        context.pieces(frame.rows * parts, piece / columns + 1, [&](std::size_t start, std::size_t end) {
            Workspace space(*this, whole_rows_ ? frame.columns : std::min(block, frame.columns));
            for (std::size_t item = start; item < end; ++item) {
                const std::size_t row = item / parts, first = item % parts * columns;
                run(space, sources, row, first, std::min(frame.columns, first + columns), frame.columns, out);
            }
        });
    }

  private:
    struct Instruction {
        Step step;
        std::array<std::size_t, 3> values;
        std::size_t slot;
    };

    //! The values of a block: constants and repeated inputs are filled in, and steps share what is left.
    struct Workspace {
        Workspace(const Chain& chain, std::size_t length)
            : size(length), memory((chain.inputs_ + chain.constants_.size() + chain.slots_) * length),
              values(chain.inputs_ + chain.constants_.size() + chain.instructions_.size()) {
            for (std::size_t i = 0; i < chain.constants_.size(); ++i) {
                float* at = slot(chain.inputs_ + i);
                std::fill_n(at, size, chain.constants_[i]);
                values[chain.inputs_ + i] = at;
            }
        }
        float* slot(std::size_t number) { return memory.data() + number * size; }

        std::size_t size;
        std::vector<float> memory;
        std::vector<const float*> values;
    };

    void take(const std::vector<std::int64_t>& program) {
        if (program.empty() || program.size() % 4 != 0) {
            throw std::invalid_argument("a chain's program has four integers for each step");
        }
        for (std::size_t at = 0; at < program.size(); at += 4) {
            const std::int64_t known = static_cast<std::int64_t>(inputs_ + constants_.size() + at / 4);
            const bool sound = std::all_of(&program[at + 1], &program[at] + 4,
                                           [=](std::int64_t value) { return value >= 0 && value < known; });
            if (program[at] < 0 || program[at] >= steps || !sound) {
                throw std::invalid_argument("a step of a chain's program has no such meaning, or no such value");
            }
            const auto value = [&](std::size_t i) { return static_cast<std::size_t>(program[at + i]); };
            instructions_.push_back({static_cast<Step>(program[at]), {value(1), value(2), value(3)}, 0});
            whole_rows_ = whole_rows_ || instructions_.back().step == Step::sum;
        }
        if (whole_rows_ && lanes_ != 1) {
            throw std::invalid_argument("a chain adds up rows in plain layout alone");
        }
    }

    //! Gives every step a slot that no value still needs.
    void place() {
        const std::size_t before = inputs_ + constants_.size();
        std::vector<std::size_t> last(before + instructions_.size(), 0);
        for (std::size_t i = 0; i < instructions_.size(); ++i) {
            for (std::size_t value : instructions_[i].values) {
                last[value] = i;
            }
        }
        std::vector<std::size_t> free;
        for (std::size_t i = 0; i < instructions_.size(); ++i) {
            if (free.empty()) {
                free.push_back(slots_++);
            }
            instructions_[i].slot = free.back();
            free.pop_back();
            std::array<std::size_t, 3> values = instructions_[i].values;
            std::sort(values.begin(), values.end());
            const auto end = std::unique(values.begin(), values.end());
            for (auto value = values.begin(); value != end; ++value) {
                if (*value >= before && last[*value] == i) {
                    free.push_back(instructions_[*value - before].slot);
                }
            }
        }
    }

    Frame framed(const std::vector<Tensor>& given) const {
        Frame frame;
        for (const Tensor& one : given) {
            frame.dims.resize(std::max(frame.dims.size(), one.dims.size()), 1);
        }
        if (axis_ > frame.dims.size() || (lanes_ != 1 && (frame.dims.size() != 4 || axis_ != 2))) {
            throw std::invalid_argument("a chain's axis is beyond its inputs, or they are not [N,C,H,W] in blocks");
        }
        std::fill(frame.dims.begin(), frame.dims.end(), 1);
        for (const Tensor& one : given) {
            const std::size_t missing = frame.dims.size() - one.dims.size();
            for (std::size_t i = 0; i < one.dims.size(); ++i) {
                std::int64_t& extent = frame.dims[missing + i];
                if (one.dims[i] != 1 && extent != 1 && extent != one.dims[i]) {
                    throw std::invalid_argument("a chain's inputs do not fit each other");
                }
                extent = one.dims[i] == 1 ? extent : one.dims[i];
            }
        }
        const std::int64_t* dims = frame.dims.data();
        frame.rows = product(dims, dims + axis_) / lanes_;
        frame.columns = product(dims + axis_, dims + frame.dims.size()) * lanes_;
        if (whole_rows_ && frame.columns > longest_row) {
            throw std::invalid_argument("a chain's rows are too long for its sums");
        }
        if (lanes_ != 1 && frame.dims[1] % static_cast<std::int64_t>(lanes_) != 0) {
            throw std::invalid_argument("a chain takes as many channels as blocks hold");
        }
        return frame;
    }

    Source source(const Tensor& one, const Frame& frame) const {
        if (one.size() == 1) {
            return {one.data, 1, 1};
        }
        std::vector<std::int64_t> dims(frame.dims.size() - one.dims.size(), 1);
        dims.insert(dims.end(), one.dims.begin(), one.dims.end());
        const auto split = static_cast<std::ptrdiff_t>(axis_);
        const bool all = std::equal(dims.begin() + split, dims.end(), frame.dims.begin() + split);
        const bool none = std::all_of(dims.begin() + split, dims.end(), [](std::int64_t extent) { return extent == 1; });
        std::ptrdiff_t leading = 0;
        while (leading < split && dims[static_cast<std::size_t>(leading)] == 1) {
            ++leading;
        }
        const bool rows = std::equal(dims.begin() + leading, dims.begin() + split, frame.dims.begin() + leading);
        if (!(all || none) || !rows || (lanes_ != 1 && leading > 1 && frame.dims[1] != 1)) {
            throw std::invalid_argument("an input of a chain has ones elsewhere than in all columns or leading rows");
        }
        return {one.data, product(dims.data(), dims.data() + axis_) / lanes_, all ? frame.columns : lanes_};
    }

    //! Runs the program over the columns from `first` to `end` of a row.
    void run(Workspace& space, const std::vector<Source>& sources, std::size_t row, std::size_t first, std::size_t end,
             std::size_t columns, float* out) const {
        for (std::size_t i = 0; i < inputs_; ++i) {
            if (sources[i].columns != columns) {
                repeat(sources[i].data + row % sources[i].rows * sources[i].columns, sources[i].columns, space, i);
            }
        }
        double sums[16] = {};
        const std::size_t before = inputs_ + constants_.size();
        for (std::size_t at = first; at < end; at += space.size) {
            const std::size_t count = std::min(space.size, end - at);
            for (std::size_t i = 0; i < inputs_; ++i) {
                if (sources[i].columns == columns) {
                    space.values[i] = sources[i].data + row % sources[i].rows * columns + at;
                }
            }
            for (std::size_t i = 0; i < instructions_.size(); ++i) {
                const Instruction& one = instructions_[i];
                const bool last = i + 1 == instructions_.size() && !reduced_;
                float* to = last ? out + row * columns + at : space.slot(before + one.slot);
                const auto value = [&](std::size_t number) { return space.values[one.values[number]]; };
                kernels_.step(one.step, value(0), value(1), value(2), to, count);
                space.values[before + i] = to;
            }
            if (reduced_) {
                kernels_.add_up(space.values.back(), count, lanes_, sums);
            }
        }
        for (std::size_t lane = 0; reduced_ && lane < lanes_; ++lane) {
            out[row * lanes_ + lane] = static_cast<float>(sums[lane]);
        }
    }

    void repeat(const float* from, std::size_t count, Workspace& space, std::size_t input) const {
        float* to = space.slot(input);
        std::copy_n(from, count, to);
        for (std::size_t filled = count; filled < space.size; filled *= 2) {
            std::copy_n(to, std::min(filled, space.size - filled), to + filled);
        }
        space.values[input] = to;
    }

    const Kernels& kernels_;
    bool reduced_, whole_rows_ = false;
    std::vector<float> constants_;
    std::vector<Instruction> instructions_;
    std::size_t lanes_ = 1, axis_ = 0, inputs_ = 0, slots_ = 0;
};

template <bool Reduced>
std::unique_ptr<Kernel> create(const Attributes& attributes) {
    return std::make_unique<Chain>(attributes, Reduced);
}

}  // namespace

const Definition& chain() {
    static const Definition definition{"Chain", 0, true, true, create<false>};
    return definition;
}

const Definition& chain_sum() {
    static const Definition definition{"ChainSum", 0, false, false, create<true>};
    return definition;
}

}  // namespace onnxplain::operators
